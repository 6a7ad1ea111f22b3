"""A real canary on a real cluster, on the page: aborted by its button, and rolled back by a guard."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from benchmarks.canaries.live_result import AS_STABLE
from benchmarks.canaries.live_rollouts import LiveCluster
from divisions.status import Explanation
from tests.e2e.browser import Browser, find_browser, open_browser

pytestmark = pytest.mark.e2e

ROLLOUT_S = 240.0
SLOWER = ("batch_delay_ms=25",)
CANARY = '[data-part="versions"] [data-arm="canary"]'


@pytest.fixture(scope="module")
def cluster(live_cluster) -> Iterator[LiveCluster]:
    find_browser()
    load = live_cluster.start_load(120.0, 1, 900.0)
    try:
        yield live_cluster
    finally:
        load.close()


@pytest.fixture
def browser(cluster: LiveCluster) -> Iterator[Browser]:
    token = (cluster.product.home / "token").read_text().strip()
    with open_browser() as it:
        it.open(f"{cluster.product.url}/#token={token}")
        it.wait_for_text("#connection", "live")
        yield it


def phase_is(browser: Browser, version: str, phase: str) -> None:
    """Waits until the page shows the rollout of a version in a phase."""
    browser.wait_for(
        lambda: phase in browser.text('[data-field="phase"]') and version in browser.text(CANARY),
        f"{phase} of {version}",
        ROLLOUT_S,
    )


def explanation(cluster: LiveCluster) -> Explanation:
    with cluster.product.client() as client:
        found = client.rollout("churn").status().explanation
    assert found is not None
    return found


def told(browser: Browser, name: str) -> str:
    return browser.text(f'[data-field="why.{name}"]')


def number(text: str) -> float:
    return float(re.search(r"-?[\d.,]+", text).group().replace(",", ""))


def test_a_rollout_is_aborted_by_the_button(browser, cluster):
    version = cluster.register()
    cluster.start(version, (AS_STABLE,))
    phase_is(browser, version, "STEP")
    browser.wait_for(lambda: browser.text('[data-field="actual_weight_bp"]') == "20 %", "the first step's weight")
    assert "here, 20 % now" in browser.text(".ladder")
    browser.press('[data-command="abort"]')
    assert version in browser.text("#confirm-text")
    browser.press("#confirm-yes")
    browser.wait_for_text('[data-field="outcome"]', "Abort: done")
    phase_is(browser, version, "ROLLED_BACK")
    assert told(browser, "guard") == explanation(cluster).guard == "operator"
    with cluster.product.client() as client:
        status = client.rollout("churn").status()
    assert (status.phase, status.canary_version, status.actual_weight_bp) == ("ROLLED_BACK", version, 0)
    assert browser.log() == []


def test_a_rollback_is_explained_on_the_page_as_in_the_api(browser, cluster):
    version = cluster.register()
    cluster.start(version, SLOWER)
    phase_is(browser, version, "STEP")
    browser.wait_for(lambda: browser.all("[data-guard]"), "the evidence of the guards", ROLLOUT_S)
    browser.wait_for(lambda: len(browser.all("[data-endpoint] .chart canvas")) >= 2, "the charts of the rollout")
    phase_is(browser, version, "ROLLED_BACK")
    why = explanation(cluster)
    assert why.guard == "latency"
    assert told(browser, "guard") == why.guard
    assert told(browser, "text") == why.text
    assert told(browser, "quantile") == f"p{100 * why.quantile:g}"
    log_e, threshold = (number(part) for part in told(browser, "log_e").split(" of "))
    assert (log_e, threshold) == (pytest.approx(why.log_e, abs=0.006), pytest.approx(why.threshold, abs=0.006))
    assert number(told(browser, "threshold_ms")) == pytest.approx(why.threshold_ms, abs=0.06)
    assert number(told(browser, "window_s")) == pytest.approx(why.window_s, abs=0.6)
    assert number(told(browser, "ratio")) == pytest.approx(why.ratio, rel=0.01)
    for arm in ("stable", "canary"):
        assert number(told(browser, f"{arm}_requests")) == getattr(why, f"{arm}_requests") > 0
        assert number(told(browser, f"{arm}_exceeded")) == getattr(why, f"{arm}_exceeded")
        assert number(told(browser, f"{arm}_quantile_ms")) == pytest.approx(
            getattr(why, f"{arm}_quantile_ms"), abs=0.06
        )
    assert "ROLLED_BACK" in browser.text('[data-part="history"]')
    assert version not in browser.text("#replica-table") or "canary" not in browser.text("#replica-table")
    assert browser.log() == []
