"""What the page shows in a real browser, served by a gateway whose controller gives the answers that a test sets."""

from __future__ import annotations

import itertools
import time

import msgspec
import pytest

from divisions.scaling import Scaling, VersionScale
from divisions.status import Evidence, Explanation, HistoryEntry
from tests.e2e.page.stage import EVIDENCE, EXPLANATION, HOSTILE, field, rollout, watch

pytestmark = pytest.mark.e2e


def test_the_card_shows_the_status(browser, stage):
    watch(browser, stage, rollout())
    browser.wait_for_text('[data-field="phase"]', "◐ STEP, for 3")
    assert field(browser, "message") == "1,200 of 5,500 requests judged"
    ladder = [item.text.split("\n") for item in browser.all(".ladder li")]
    assert [step[0] for step in ladder] == ["20 %", "50 %", "100 %"]
    assert [step[1] for step in ladder] == ["passed", "here, 50 % now", "not reached"]
    assert [item.get_attribute("aria-current") for item in browser.all(".ladder li")] == [None, "step", None]
    assert field(browser, "set_weight_bp") == field(browser, "actual_weight_bp") == "50 %"
    assert field(browser, "step") == "2 of 3"
    assert field(browser, "min_detectable") == "a median slower by 23 % or more, at this traffic"
    rows = {row.get_attribute("data-guard"): row.text for row in browser.all("[data-guard]")}
    assert rows == {
        "latency": "latency 2.34 4.61 rolls back",
        "errors": "errors -0.80 5.30 rolls back",
        "split": "split -1.20 6.91 holds",
    }
    assert field(browser, "input_drift") == "0.02 (minutes)"
    assert "2/2 ready 4,800 3" in browser.text('[data-part="versions"] [data-arm="stable"]')
    assert "1/2 ready 1,200 1" in browser.text('[data-part="versions"] [data-arm="canary"]')
    history = browser.text('[data-part="history"] tbody').split("\n")
    assert [line.split(maxsplit=1)[1] for line in history] == ["STEP 50 % passed", "PENDING 0 % created"]
    assert browser.driver.title.startswith("STEP 50 % · churn")
    assert len(browser.all(".chart canvas")) == 2
    assert browser.log() == []


def test_a_journal_that_cannot_be_written_is_an_alert(browser, stage):
    fault = "the journal cannot be written: database or disk is full"
    stage.say(rollout(unwritten=fault), journal_fault=fault)
    browser.open(f"{stage.url}#token=secret")
    browser.wait_for_text("#journal", f"{fault}. No weight can rise until it can be written again.")
    assert field(browser, "unwritten") == fault
    stage.say(rollout())
    browser.wait_for(lambda: not browser.all("#journal")[0].is_displayed(), "the alert gone")
    assert browser.log() == []


def test_a_first_version_is_not_compared_and_shows_neither_steps_nor_charts(browser, stage):
    first = rollout(
        phase="PROMOTED", stable_version="3.1", canary_version="3.1", is_compared=False, evidence=Evidence(),
        actual_weight_bp=10_000, step_index=2, history=(HistoryEntry(time.time(), "PROMOTED", 10_000, "3.1 serves"),),
    )  # fmt: skip
    watch(browser, stage, first)
    browser.wait_for_text('[data-field="not-compared"]', "Not compared: all traffic at once, without steps.")
    assert "passed" not in browser.text('[data-part="ladder"]')
    assert not any(chart.is_displayed() for chart in browser.all(".chart"))
    assert browser.log() == []


def test_a_rollout_that_is_over_shows_its_last_evidence_in_place_of_empty_charts(browser, stage):
    watch(browser, stage, rollout(phase="PROMOTED", stable_version="3.2", actual_weight_bp=10_000, step_index=2))
    browser.wait_for_text('[data-field="over"]', "This rollout is over. The table above has the last evidence")
    assert "2.34" in browser.text('[data-guard="latency"]')
    assert not any(chart.is_displayed() for chart in browser.all(".chart"))


def test_charts_of_a_rollout_that_this_page_has_watched_stay_when_it_is_over(browser, stage):
    running = rollout()
    watch(browser, stage, running)
    browser.wait_for(lambda: len(browser.all(".chart canvas")) == 2, "charts")
    stage.say(msgspec.structs.replace(running, phase="ROLLED_BACK", actual_weight_bp=0))
    browser.wait_for_text('[data-field="phase"]', "ROLLED_BACK")
    assert [chart.is_displayed() for chart in browser.all(".chart canvas")] == [True, True]


def test_a_promotion_by_hand_shows_which_steps_it_left_out(browser, stage):
    history = (HistoryEntry(0.0, "STEP", 2_000, "step 1/3"), HistoryEntry(1.0, "PROMOTED", 10_000, "3.2 serves"))
    watch(browser, stage, rollout(phase="PROMOTED", stable_version="3.2", actual_weight_bp=10_000, history=history))
    browser.wait_for_text(".ladder", "promoted by hand")
    ladder = [item.text.split("\n")[1] for item in browser.all(".ladder li")]
    assert ladder == ["promoted by hand", "promoted by hand", "promoted by hand"]


def test_replicas_are_shown_as_divisions_status_does(browser, stage):
    watch(browser, stage, rollout())
    header = [cell.text for cell in browser.all("#replicas thead th")]
    assert header[:9] == ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "GPU", "Engine"]
    first, second = ([cell.text for cell in row.find_elements("css selector", "th, td")] for row in
                     browser.all("#replicas tbody tr"))  # fmt: skip
    assert first[:4] == ["churn-predictor-v3.1-x7k2p", "✔ 1/1", "Running", "2"]
    assert first[4].startswith("1h2m")
    assert first[5:] == ["10.0.0.7", "abababababab", "T4/0.5", "tensorrt", "stable, 50 %"]
    assert second[1:4] == ["◌ 0/1", "Starting\nno memory left", "0"]
    assert second[5:8] == ["none", "none", "none"]
    assert second[8] == "onnxruntime-cpu"
    assert "onnxruntime-cpu: better ones passed over: tensorrt: no NVIDIA driver" in browser.text("#replica-table")
    age = browser.all("[data-age]")[1].text
    browser.wait_for(lambda: browser.all("[data-age]")[1].text != age, "the age that grows")


def test_the_number_of_replicas_is_shown_with_its_reason(browser, stage):
    watch(browser, stage, rollout())
    assert not browser.all("[data-scale]")
    limits = Scaling(2, 9)
    scales = (
        VersionScale("m-v1", "churn", "1", "stable", 3, 4, limits, 0.523, "400 rows/s need 4"),
        VersionScale("m-v2", "churn", "2", "canary", 1, 2, lacks="room for 0 of 1 more"),
        VersionScale("m-v3", "churn", "3", "warm", 1, 1),
    )
    stage.say(rollout(), scales=scales)
    browser.wait_for(lambda: len(browser.all("[data-scale]")) == 2, "a row for each version with something to tell")
    first, second = ([cell.text for cell in row.find_elements("css selector", "th, td")] for row in
                     browser.all("[data-scale]"))  # fmt: skip
    assert first == ["m-v1", "3 of 4", "2 to 9", "52 %", "400 rows/s need 4"]
    assert second == ["m-v2", "1 of 2", "none", "unknown", "room for 0 of 1 more"]


def test_the_explanation_is_shown_field_by_field(browser, stage):
    watch(browser, stage, rollout(phase="ROLLED_BACK", explanation=EXPLANATION, actual_weight_bp=0))
    browser.wait_for_text('[data-field="phase"]', "ROLLED_BACK")
    assert {name: field(browser, f"why.{name}") for name in (
        "text", "guard", "log_e", "quantile", "ratio", "threshold_ms", "window_s", "stable_requests",
        "canary_requests", "stable_exceeded", "canary_exceeded", "stable_quantile_ms", "canary_quantile_ms",
    )} == {
        "text": EXPLANATION.text,
        "guard": "latency",
        "log_e": "4.71 of 4.61",
        "quantile": "p99.5",
        "ratio": "× 2.5",
        "threshold_ms": "14.9 ms",
        "window_s": "30 s",
        "stable_requests": "4,800",
        "canary_requests": "1,204",
        "stable_exceeded": "48",
        "canary_exceeded": "110",
        "stable_quantile_ms": "13.4 ms",
        "canary_quantile_ms": "infinite",
    }  # fmt: skip
    # Other guards name the same fields differently.
    stage.say(rollout(phase="HOLD", explanation=msgspec.structs.replace(EXPLANATION, guard="split", quantile=0.0)))
    browser.wait_for_text('[data-part="why"] thead', "Customers")
    drift = Explanation(guard="inputs", text="drift", log_e=0.21, threshold=0.15)
    stage.say(rollout(phase="HOLD", explanation=drift))
    browser.wait_for_text('[data-part="why"]', "Drift, and where it acts")
    assert field(browser, "why.log_e") == "0.21 of 0.15"
    assert not browser.all('[data-part="why"] table')
    assert browser.log() == []


def test_text_from_others_is_never_markup(browser, stage):
    hostile = rollout(
        message=HOSTILE,
        phase="HOLD",
        canary_version=HOSTILE,
        explanation=msgspec.structs.replace(EXPLANATION, text=f"why {HOSTILE}"),
        history=(HistoryEntry(1.0, HOSTILE, 0, HOSTILE),),
        evidence=msgspec.structs.replace(EVIDENCE, input_drift_feature=HOSTILE),
    )
    watch(browser, stage, hostile)
    browser.wait_for_text('[data-field="message"]', "<img")
    assert field(browser, "message") == HOSTILE
    assert field(browser, "why.text") == f"why {HOSTILE}"
    assert HOSTILE in browser.text('[data-part="history"]')
    assert HOSTILE in browser.text('[data-part="versions"]')
    stage.it.link.is_away = True
    browser.wait_for_text("#connection", "away")
    assert browser.all("main img, main script, #connection img") == []
    assert browser.driver.title.startswith("HOLD")
    assert browser.log() == []


def test_changes_arrive_by_themselves_and_leave_focus_and_buttons_alone(browser, stage):
    watch(browser, stage, rollout())
    browser.run("document.querySelector('[data-command=\"pause\"]').focus()")
    stage.say(rollout(phase="BAKE", step_index=2, actual_weight_bp=9_700, set_weight_bp=10_000))
    browser.wait_for_text('[data-field="phase"]', "◕ BAKE")
    assert "here, 97 % now" in browser.text(".ladder")
    assert browser.run("return document.activeElement.dataset.command") == "pause"
    stage.say(rollout(phase="PROMOTED", step_index=2, stable_version="3.2", actual_weight_bp=0))
    browser.wait_for_text('[data-field="phase"]', "✔ PROMOTED")
    assert "No canary: 3.2 is stable now." in browser.text('[data-part="versions"]')
    enabled = {button.get_attribute("data-command"): button.is_enabled() for button in browser.all("[data-command]")}
    assert enabled == {"pause": False, "resume": False, "promote": False, "abort": False, "rollback": True}
    assert "divisions rollout start churn-predictor" in browser.text('[data-part="none"]')


def test_no_rollout_says_what_serves_and_how_to_start_one(browser, stage):
    watch(browser, stage)
    browser.wait_for_text('[data-part="none"]', "No rollout. Start one with divisions rollout start")
    assert "3.1" in browser.text('[data-part="serving"]')
    assert [button for button in browser.all("[data-command]") if button.is_displayed()] == []


def test_the_page_fits_a_phone_and_both_colour_schemes(browser, stage):
    watch(browser, stage, rollout(phase="HOLD", explanation=EXPLANATION))
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert browser.run("return document.documentElement.scrollWidth") == 360
    backgrounds = []
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        backgrounds.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        worst = browser.run(CONTRAST)
        assert worst["ratio"] >= 4.5, (scheme, worst)
    assert len(set(backgrounds)) == 2
    assert browser.log() == []


CONTRAST = """
const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
};
let worst = {ratio: 99};
for (const element of document.querySelectorAll("body *")) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!hasText || !element.checkVisibility() || element.matches(":disabled")) continue;
  const [one, two] = [luminance(numbers(getComputedStyle(element).color)), luminance(behind(element))];
  const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (ratio < worst.ratio) worst = {ratio, text: element.textContent.slice(0, 40), name: element.className};
}
return worst;
"""


def test_controls_have_names_and_headings_have_an_order(browser, stage):
    watch(browser, stage, rollout(phase="HOLD", explanation=EXPLANATION))
    nameless = browser.run(
        """
        const isNamed = (each) => each.textContent.trim() || each.getAttribute("aria-label") || each.labels?.length;
        return [...document.querySelectorAll("button, input, meter, [role=region], table th")]
          .filter((each) => each.checkVisibility() && !isNamed(each)).map((each) => each.outerHTML);
        """
    )
    assert nameless == []
    levels = browser.run(
        "return [...document.querySelectorAll('main h1, main h2, main h3, header h1')]"
        ".filter((each) => each.checkVisibility()).map((each) => Number(each.tagName[1]))"
    )
    assert (levels[0], max(levels)) == (1, 3)
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert browser.run("return document.getElementById('connection').getAttribute('role')") == "status"
