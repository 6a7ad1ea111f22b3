"""docs/metrics.md names every metric, and none that does not exist."""

import re
from pathlib import Path

from divisions.drift import DriftReport
from divisions.status import ControllerStatus
from router.gateway import drift_metrics, rollout_metrics
from tests.router.gateway.test_gateway_tls import ask, encrypted, get, trusting

DOCUMENT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def told(section: str) -> set[str]:
    text = DOCUMENT.partition(f"## Of {section}")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(divisions_\w+)` \|", text, re.MULTILINE))


def names(text: str) -> set[str]:
    return set(re.findall(r"^# HELP (divisions_\w+) ", text, re.MULTILINE))


def test_every_metric_of_the_controller_is_documented_and_every_documented_one_exists():
    status = ControllerStatus(epoch=1, replicas=(), rollouts=())
    assert names(rollout_metrics.render(status).decode()) == told("rollouts") | told("the inventory")


def test_every_metric_of_drift_is_documented_and_every_documented_one_exists():
    assert names(drift_metrics.render(DriftReport(())).decode()) == told("drift")


def test_every_metric_of_a_gateway_is_documented_and_every_documented_one_exists(run, tmp_path):
    async def scenario():
        store = "redis://127.0.0.1:1"  # it is away
        async with encrypted(tmp_path, online_store=store, traces=True) as it:
            reply = await ask(it.port, trusting(tmp_path), get("/metrics"))
            of_the_controller = told("rollouts") | told("the inventory") | told("drift")
            assert names(reply.body.decode()) - of_the_controller == told("this gateway")

    run(scenario())
