"""`make demo`, watched on the page: every panel says what the API says, from the first version to the rollback.

It takes some minutes. With ``--pictures docs/pictures`` the pictures of the documents are made anew.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks.demo.demo import FIRST, SECOND, SLOWED
from benchmarks.demo.demo_result import DemoReport
from divisions.errors import DivisionsError
from divisions.sdk.client import Client
from divisions.status import RolloutStatus
from tests.e2e.browser import Browser, find_browser, open_browser
from tests.e2e.house_agreement import wait_until_agreed
from tests.e2e.page.axe import need_axe, serious_faults
from tests.e2e.screenshots import DESK, PHONE, keep_picture, look
from tests.e2e.watched import faults, take_notes, wait_for_shown, weights

pytestmark = [pytest.mark.e2e, pytest.mark.long]

START_S = 400.0
ROLLOUT_S = 400.0
END_S = 240.0
TOP = 2_000
"""How much of the page a picture of the documents has."""


class Demo:
    """The demo in a process of its own. It stays as it is after the rollback, until `finish`."""

    def __init__(self, build: Path) -> None:
        self.build = build
        self.home = build / "demo" / "home"
        command = [sys.executable, "-m", "benchmarks.demo", "--build", str(build), "--stay"]
        with (build / "output.log").open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return (self.build / "output.log").read_text(errors="replace")[-2_000:]

    def wait_until_serving(self) -> None:
        ends_s = time.monotonic() + START_S
        while not self._serves():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < ends_s, self.said()
            time.sleep(0.2)

    def _serves(self) -> bool:
        try:
            return self.status().phase == "PROMOTED"
        except (DivisionsError, OSError):
            return False

    def status(self) -> RolloutStatus:
        with Client(self.url, home=self.home) as client:
            return client.rollout("churn").status()

    @property
    def url(self) -> str:
        return msgspec.json.decode((self.home / "cluster.json").read_bytes())["gateway_url"]

    @property
    def token(self) -> str:
        return (self.home / "token").read_text().strip()

    def finish(self) -> DemoReport:
        self.process.communicate(b"\n", timeout=END_S)
        return msgspec.json.decode((self.build / "demo.json").read_bytes(), type=DemoReport)

    def close(self) -> None:
        """Interrupts it if it still runs; it then ends its cluster."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(END_S)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Demo]:
    find_browser()
    need_axe()
    it = Demo(tmp_path_factory.mktemp("demo"))
    try:
        it.wait_until_serving()
        yield it
    finally:
        it.close()


@pytest.fixture
def browser(demo) -> Iterator[Browser]:
    with open_browser() as it:
        take_notes(it)
        it.open(f"{demo.url}/#token={demo.token}")
        it.wait_for_text("#connection", "live")
        yield it


def test_the_demo_on_the_page_from_the_first_version_to_the_rollback(demo, browser, pytestconfig):
    folder = pytestconfig.getoption("--pictures")

    def picture(name: str, width: int = DESK, scheme: str = "light", most: int = TOP) -> None:
        look(browser, width, scheme)
        if folder:
            keep_picture(browser, folder / f"page-{name}.png", width, most)

    wait_for_shown(browser, "PROMOTED", "stable", FIRST, "100 %", ROLLOUT_S)
    browser.wait_for(lambda: FIRST in browser.text("[data-traffic]"), "the first requests")
    wait_until_agreed(browser)

    # A good version gets 20, 50 and 100 %.
    wait_for_shown(browser, "STEP", "canary", SECOND, "20 %", ROLLOUT_S)
    wait_until_agreed(browser)
    picture("running")
    wait_for_shown(browser, "PROMOTED", "stable", SECOND, "100 %", ROLLOUT_S)
    wait_until_agreed(browser)
    shown = weights(browser, "canary", SECOND)
    assert [each for each in shown if each in ("20 %", "50 %")] == ["20 %", "50 %"], shown
    assert weights(browser, "stable", SECOND)[-1] == "100 %"
    picture("promoted", scheme="dark")

    # A slow one is rolled back, and the page says why.
    wait_for_shown(browser, "STEP", "canary", SLOWED, "20 %", ROLLOUT_S)
    wait_for_shown(browser, "ROLLED_BACK", "canary", SLOWED, "0 %", ROLLOUT_S)
    found = wait_until_agreed(browser)
    why = demo.status().explanation
    assert why is not None
    assert why.guard == "latency"
    assert browser.text('[data-field="why.text"]') == why.text
    assert f"{SLOWED} was rolled back" in found["page"]["now"]
    assert f"{SECOND} serves all traffic" in found["page"]["now"]
    assert found["page"]["steps"], "the deployment that brought the second version"
    for width in (DESK, PHONE):
        for scheme in ("light", "dark"):
            look(browser, width, scheme)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            assert serious_faults(browser) == [], (width, scheme)
    picture("rolled-back", scheme="dark")
    picture("whole", most=9_000)
    picture("phone", width=PHONE)
    assert faults(browser) == []

    report = demo.finish()
    assert (report.promoted_version, report.rolled_back_version) == (SECOND, SLOWED)
    assert report.rollback_reason.startswith(f"{why.guard}: ")  # in short; the page has it in full
