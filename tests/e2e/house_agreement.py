"""Whether the page says what the API says: the texts of every panel against the house and the status.

`read` takes both at the same moment, inside the page. `differences` is pure. Both may be a second apart, since the page
gets changes by its stream: `wait_until_agreed` looks until nothing differs.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.e2e.browser import Browser

PANELS = (
    "now",
    "tiles",
    "stages",
    "traffic",
    "endpoints",
    "replicas",
    "drift",
    "pipelines",
    "runs",
    "models",
    "deploys",
)
_MOODS = {
    "idle": "nothing yet", "waiting": "waiting", "running": "running", "held": "held", "done": "done",
    "failed": "failed", "unknown": "not known", "watching": "watching", "alert": "alert",
}  # fmt: skip
_READ = """
const headers = {authorization: `Bearer ${sessionStorage.getItem("divisions.token")}`};
const get = async (path) => (await fetch(path, {headers, cache: "no-store"})).json();
const [house, status] = await Promise.all([get("api/v2/house"), get("api/v2/status")]);
const all = (selector) => [...document.querySelectorAll(selector)];
const text = (element) => element.innerText.trim();
const named = (selector, key) => Object.fromEntries(all(selector).map((each) => [each.dataset[key], text(each)]));
const rows = (selector, key) =>
  Object.fromEntries(all(selector).map((each) => [each.dataset[key], [...each.cells].map(text)]));
const series = ({children}) => [...children].map((part) => part.textContent);
const drawn = (panel) => all(`#${panel} canvas`).filter((each) => each.width > 0).length;
return {house, status, page: {
  panels: Object.fromEntries(given[0].map((id) => [id, document.getElementById(id).getClientRects().length > 0])),
  fields: named("[data-field]", "field"), tiles: named("[data-tile]", "tile"), stages: named("[data-stage]", "stage"),
  traffic: rows("[data-traffic]", "traffic"), guards: rows("[data-guard]", "guard"),
  arms: rows('[data-part="versions"] [data-arm]', "arm"),
  pods: rows("[data-replica]", "replica"), drift: rows("[data-drift]", "drift"), runs: rows("[data-run]", "run"),
  registered: rows("[data-registered]", "registered"), gates: named("[data-gate]", "gate"),
  steps: named("[data-step]", "step"),
  now: text(document.getElementById("now")), file: document.querySelector(".file")?.textContent ?? "",
  ladder: all(".ladder .step").map(text), legends: Object.fromEntries(all("#traffic .u-series").map(series)),
  histogram: document.querySelectorAll('[data-part="histogram"] tbody tr').length,
  charts: {traffic: drawn("traffic"), endpoints: drawn("endpoints"), runs: drawn("runs")},
  connection: text(document.getElementById("connection")),
}};
"""


def read(browser: Browser) -> dict[str, Any]:
    """The house, the status, and what the page says, as one moment has them."""
    return browser.run(_READ, list(PANELS))


def wait_until_agreed(browser: Browser, timeout_s: float = 120.0) -> dict[str, Any]:
    """Looks until every panel says what the API says; returns what was read then."""
    found: dict[str, Any] = {}

    def agrees() -> bool:
        nonlocal found
        found = read(browser)
        try:
            return not differences(found)
        except (TypeError, KeyError, IndexError):
            return False  # A section that the controller has not gathered yet: nothing of it can be compared.

    try:
        browser.wait_for(agrees, "the page as the API", timeout_s)
    except AssertionError as error:
        raise AssertionError("\n".join(differences(found))) from error  # or what could not be compared
    return found


def differences(found: dict[str, Any]) -> list[str]:
    """Where the page differs from the API: one line for each value."""
    return [
        f"{where}: the page says {said!r}, the API {told!r}"
        for where, said, told in _pairs(found["page"], found["house"], found["status"])
        if not _is_same(said, told)
    ]


def _is_same(said: object, told: object) -> bool:
    if isinstance(said, str) and isinstance(told, float | int) and not isinstance(told, bool):
        return is_number(said, told)
    return said == told


def is_number(said: str, told: float) -> bool:
    """Whether a text begins with a number: a whole one with all of its digits, any other with some of them.

    >>> is_number("3.1 ms", 3.14), is_number("1,204/s", 1204.4), is_number("-7.16e-4", -0.00071592)
    (True, True, True)
    >>> is_number("3.1 ms", 3.16), is_number("1,204", 1205), is_number("none", 0.0)
    (False, False, False)
    """
    digits = re.search(r"(-?[\d,]+(?:\.(\d+))?)(?:e(-?\d+))?", said)
    if digits is None:
        return False
    number = float(digits[0].replace(",", ""))
    if isinstance(told, int):
        return number == told
    last = int(digits[3] or 0) - len(digits[2] or "")
    return math.isclose(number, told, abs_tol=0.5001 * 10.0**last, rel_tol=0.0005)


def moment(seconds: float) -> str:
    """
    >>> moment(0.9)
    '1970-01-01 00:00:00'
    """
    return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")


Pairs = Iterator[tuple[str, object, object]]
"""Where, what the page says, and what the API says. A number there means a text that begins with it."""


def _pairs(page: dict, house: dict, status: dict) -> Pairs:
    # What a panel has not built yet is not said: it differs.
    page = page | {name: defaultdict(str, page[name]) for name in ("fields", "tiles", "stages")}
    page["guards"] = defaultdict(lambda: [""] * 5, page["guards"])
    yield "connection", page["connection"], "● live"
    for panel, is_there in page["panels"].items():
        yield f"panel {panel}", is_there, True
    yield from _tiles(page, house["live"])
    yield from _stages(page, house["stages"])
    yield from _traffic(page, house["live"], house["history"])
    for rollout in status["rollouts"]:
        yield from _rollout(page, rollout, house["rollouts"])
    yield from _pods(page, house["pods"]["replicas"], status["replicas"])
    yield from _drift(page, house["drift"]["endpoints"])
    yield from _pipelines(page, house["pipelines"]["pipelines"])
    yield from _runs(page, house["runs"]["runs"])
    yield from _models(page, house["registry"]["versions"])
    yield from _deploys(page, house["deployments"]["deployments"])


def _tiles(page: dict, live: dict) -> Pairs:
    fields, tiles = page["fields"], page["tiles"]
    for name in ("active_pipelines", "models", "drift_alerts", "requests_per_s"):
        yield f"tile {name}", fields[f"live.{name}"], live[name]
    failed = 100 * live["errors"] / live["requests"] if live["requests"] else "none"
    yield "tile latency", fields["live.latency"], live["latency_ms"] if live["latency_ms"] is not None else "unknown"
    yield "tile failed", fields["live.failed"], failed
    note = tiles["models"].split("\n")[-1]
    yield "versions", note, live["versions_total"]
    yield "pending", f"{live['pending_versions']} pending" in note, bool(live["pending_versions"])
    yield "requests of the window", f"{live['requests']:,} in {live['window_s']} s" in tiles["requests_per_s"], True


def _stages(page: dict, stages: dict) -> Pairs:
    for stage in stages["stages"]:
        said = page["stages"][stage["id"]]
        yield f"stage {stage['id']}", all(part in said for part in (_MOODS[stage["state"]], stage["detail"])), True
    latest = stages["latest"]
    said = page["fields"]["latest"]
    yield "latest run", all(part in said for part in (latest["pipeline"], latest["run_id"][:12])), True


def _traffic(page: dict, live: dict, history: dict) -> Pairs:
    yield (
        "versions with traffic",
        sorted(page["traffic"]),
        sorted(f"{each['endpoint']} {each['version']}" for each in live["versions"]),
    )
    for each in live["versions"]:
        cells = page["traffic"].get(f"{each['endpoint']} {each['version']}", [""] * 9)
        where = f"traffic of {each['version']}"
        yield where, cells[2], each["role"]
        yield f"{where}: weight", cells[3], each["weight_bp"] / 100
        for cell, name in zip((4, 6, 7, 8), ("requests_per_s", "p50_ms", "p90_ms", "p99_ms"), strict=True):
            yield f"{where}: {name}", cells[cell], each[name] if each[name] is not None else "none"
        yield f"{where}: failed", f"({each['errors']:,})" in cells[5] if each["requests"] else cells[5] == "none", True
    last = dict(zip(history["columns"], history["points"][-1], strict=True))
    yield "charts of traffic", page["charts"]["traffic"], 2
    for name, column in (("p50", "p50_ms"), ("p99", "p99_ms"), ("requests", "requests_per_s")):
        yield f"chart: {name}", page["legends"].get(name, ""), "--" if last[column] is None else last[column]


def _rollout(page: dict, rollout: dict, lines: list[dict]) -> Pairs:
    fields, arms, evidence = page["fields"], page["arms"], rollout["evidence"]
    line = next(each for each in lines if each["endpoint"] == rollout["endpoint"])
    yield "both documents", (line["phase"], line["actual_weight_bp"]), (rollout["phase"], rollout["actual_weight_bp"])
    yield "phase", f" {rollout['phase']}, for " in fields["phase"], True
    yield "model", fields["model"], rollout["model"]
    reason = rollout["explanation"]["text"] if rollout["explanation"] else None
    is_said_below = reason is not None and reason in rollout["message"]
    yield "message", fields["message"], "" if is_said_below else rollout["message"]
    for name in ("set_weight_bp", "actual_weight_bp"):
        yield name, fields[name], rollout[name] / 100
    yield "requests in this step", fields["canary_requests"], rollout["canary_requests"]
    yield "generation", fields["generation"], f"{rollout['generation']}, {rollout['epoch']}"
    if rollout["is_compared"]:
        yield "steps", [float(each.split()[-2]) for each in page["ladder"]], [bp / 100 for bp in rollout["steps_bp"]]
        yield "charts of the rollout", page["charts"]["endpoints"], 3
    is_over = rollout["phase"] in ("PROMOTED", "ROLLED_BACK")
    weights = {
        "stable": 10_000 if is_over else 10_000 - rollout["actual_weight_bp"],
        "canary": rollout["actual_weight_bp"],
    }
    there = [
        arm for arm in weights if rollout[f"{arm}_version"] and (arm == "stable" or rollout["phase"] != "PROMOTED")
    ]
    yield "arms", sorted(page["arms"]), sorted(there)
    for arm in there:
        cells = arms.get(arm, [""] * 6)
        yield f"{arm}: version", cells[1], rollout[f"{arm}_version"]
        yield f"{arm}: weight", cells[2], weights[arm] / 100
        yield f"{arm}: judged", cells[4], evidence[f"{arm}_requests"]
        yield f"{arm}: failed", cells[5], evidence[f"{arm}_errors"]
    if evidence["threshold"]:
        yield "guard latency", page["guards"]["latency"][2], evidence["latency_log_e"]
        yield "guard errors", page["guards"]["errors"][2], evidence["error_log_e"]
    if rollout["explanation"]:
        yield "why", fields["why.text"], rollout["explanation"]["text"]
        yield "why, at the top", rollout["explanation"]["text"] in page["now"], rollout["phase"] != "PROMOTED"


def _pods(page: dict, pods: list[dict], replicas: list[dict]) -> Pairs:
    yield "pods", sorted(page["pods"]), sorted(each["name"] for each in replicas)
    yield "pods of both documents", sorted(each["name"] for each in pods), sorted(each["name"] for each in replicas)
    for each in replicas:
        cells = page["pods"].get(each["name"], [""] * 10)
        where = f"pod {each['name']}"
        yield f"{where}: ready", cells[1], "✔ 1/1" if each["ready"] else "◌ 0/1"
        yield f"{where}: status", cells[2].split("\n")[0], each["status"]
        yield f"{where}: restarts", cells[3], each["restarts"]
        yield f"{where}: place", cells[5:8], [each["ip"] or "none", each["node"][:12] or "none", each["gpu"] or "none"]
        yield f"{where}: role", cells[9].split(",")[0], each["role"]


def _drift(page: dict, endpoints: list[dict]) -> Pairs:
    (one,) = endpoints
    yield "features", sorted(page["drift"]), sorted(["", *(each["feature"] for each in one["features"])])
    for each in (*one["features"], one["predictions"] | {"feature": ""}):
        cells = page["drift"].get(each["feature"], [""] * 4)
        for cell, window in ((1, "hour"), (2, "day")):
            told = each[window] if each[window] is not None else "too early"
            yield f"drift of {each['feature'] or 'predictions'}, {window}", cells[cell], told
    yield "histogram", page["histogram"] > 0, bool(one["histograms"])


def _pipelines(page: dict, pipelines: list[dict]) -> Pairs:
    if not pipelines:
        return
    one, fields = pipelines[0], page["fields"]
    yield "pipeline", fields["pipeline.name"], one["pipeline"]
    yield "file", page["file"], one["text"]
    yield "trigger", fields["pipeline.trigger"], f"{one['expression']} ({one['zone']})"
    yield "paused", "paused" in fields["pipeline.next"], one["is_paused"]


def _runs(page: dict, runs: list[dict]) -> Pairs:
    yield "runs", sorted(page["runs"]), sorted(each["run_id"] for each in runs)
    for each in runs:
        cells = page["runs"].get(each["run_id"], [""] * 8)
        where = f"run {each['run_id'][:8]}"
        yield f"{where}: status", each["status"].lower() in cells[2], True
        yield f"{where}: began", cells[3], moment(each["started_at_s"])
        yield f"{where}: AUC", cells[5], each["metrics"].get("auc", "none")
        versions = ", ".join(f"{version['version']} {version['stage']}" for version in each["versions"])
        yield f"{where}: versions", cells[7], versions or "none"
    newest = runs[0]
    yield "gates", sorted(page["gates"]), sorted(each["metric"] for each in newest["gates"])
    for gate in newest["gates"]:
        said = page["gates"].get(gate["metric"], "")
        yield f"gate {gate['metric']}", said.partition(": ")[2], gate["value"] if gate["value"] is not None else "none"
    yield "curves", page["charts"]["runs"] > 0, any(len(curve) > 1 for curve in (newest["curves"] or {}).values())


def _models(page: dict, versions: list[dict]) -> Pairs:
    yield "registry", sorted(page["registered"]), sorted(f"{each['model']} {each['version']}" for each in versions)
    for each in versions:
        cells = page["registered"].get(f"{each['model']} {each['version']}", [""] * 7)
        where = f"version {each['version']}"
        yield f"{where}: stage", each["stage"] in cells[1], True
        yield f"{where}: framework", cells[3], each["framework"]
        yield f"{where}: size", is_size(cells[4], each["size_bytes"]), True
        shown = dict(re.findall(r"(\w+) (\S+)", cells[5]))
        yield f"{where}: number of metrics", len(shown), min(4, len(each["metrics"]))
        for name, value in shown.items():
            yield f"{where}: {name}", value, each["metrics"].get(name)
        yield f"{where}: registered", cells[6], moment(each["created_at_s"])


def is_size(said: str, size: int | None) -> bool:
    """
    >>> is_size("138 MB", 138_400_000), is_size("1.4 kB", 1_430), is_size("138 MB", 139_000_000)
    (True, True, False)
    """
    if not size:
        return said == "unknown"
    number, _, unit = said.partition(" ")
    return unit in _UNITS and is_number(number, size / 1000 ** _UNITS.index(unit))


_UNITS = ["B", "kB", "MB", "GB", "TB"]


def _deploys(page: dict, deployments: list[dict]) -> Pairs:
    if not deployments:
        return
    newest = deployments[0]
    head = page["fields"]["deploy.head"]
    yield "deployment", all(part in head for part in (newest["version"], newest["target"], newest["ending"])), True
    yield "steps of the deployment", sorted(page["steps"]), sorted({each["name"] for each in newest["steps"]})
    for step in newest["steps"]:
        said = page["steps"].get(step["name"], "")
        yield f"step {step['name']}", f"[{moment(step['began_s'])[11:]}]" in said and step["title"] in said, True
