"""What a page shows over time: noted inside the page, so that a slow test misses nothing that a reader saw."""

from __future__ import annotations

from tests.e2e.browser import Browser

_NOTE = """
window.notes = {shown: [], faults: []};
addEventListener("error", (event) => notes.faults.push(String(event.message)));
addEventListener("unhandledrejection", (event) => notes.faults.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => {
  notes.faults.push(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
addEventListener("DOMContentLoaded", () => {
  const text = (selector) => document.querySelector(selector)?.textContent ?? "";
  const arm = (name) => {
    const cells = [...document.querySelectorAll(`[data-part="versions"] [data-arm="${name}"] > *`)];
    return cells.slice(1, 3).map((each) => each.textContent);
  };
  const note = () => {
    const phase = text('[data-field="phase"]').split(/[ ,]+/)[1] ?? "";
    const shown = {phase, stable: arm("stable"), canary: arm("canary")};
    if (JSON.stringify(shown) !== JSON.stringify(notes.shown.at(-1))) notes.shown.push(shown);
  };
  new MutationObserver(note).observe(document.body, {subtree: true, childList: true, characterData: true});
});
"""


def take_notes(browser: Browser) -> None:
    """From the next page on: every phase and weight that is shown, faults of scripts, and breaches of the policy."""
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _NOTE})


def wait_for_shown(browser: Browser, phase: str, arm: str, version: str, weight: str, timeout_s: float) -> None:
    """Waits until the page shows, or has shown, a version with a weight in a phase."""

    def was_shown() -> bool:
        return any(
            each["phase"] == phase and each[arm] == [version, weight] for each in browser.run("return notes.shown")
        )

    browser.wait_for(was_shown, f"{phase} with {version} at {weight}", timeout_s)


def weights(browser: Browser, arm: str, version: str) -> list[str]:
    """The weights that the page has shown of a version, in order."""
    shown = [each[arm][1] for each in browser.run("return notes.shown") if each[arm][:1] == [version]]
    return [weight for number, weight in enumerate(shown) if number == 0 or weight != shown[number - 1]]


def faults(browser: Browser) -> list[str]:
    """What went wrong since the page was opened: errors, breaches of the policy, panels that could not be shown."""
    broken = [f"broken: {each.get_attribute('id')}" for each in browser.all("[data-broken]")]
    return [*browser.run("return notes.faults"), *broken, *browser.log()]
