"""The page in each state of a cluster: nothing breaks, fits a phone, and axe-core finds no serious fault.

``--pictures FOLDER`` keeps what each looks like.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.e2e.browser import Browser
from tests.e2e.page.axe import need_axe, serious_faults
from tests.e2e.page.scenes import SCENES

pytestmark = pytest.mark.e2e

PHONE, DESK = 400, 1280
LIGHT = ("empty", "running", "controller_away")
"""Looked at by axe with a desk's width; the others as a dark phone. It takes seconds for fifty models."""


def look(browser: Browser, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.run("await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def keep_picture(browser: Browser, path: Path, width: int) -> None:
    height = browser.run("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 9_000), "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    path.write_bytes(base64.b64decode(browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))


@pytest.mark.parametrize("name", SCENES)
def test_a_state_is_shown_whole_for_everybody(browser, documents, pytestconfig, name):
    need_axe()
    documents.say(SCENES[name]())
    browser.open(f"{documents.url}#token=secret")
    browser.wait_for(lambda: browser.text("#now-title"), "the sentence at the top")
    if SCENES[name]().away:
        browser.wait_for_text("#connection", "away")
    folder = pytestconfig.getoption("--pictures", default=None)
    for width in (DESK, PHONE):
        for scheme in ("light", "dark"):
            look(browser, width, scheme)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            if name != "many_models" and (width, scheme) == ((DESK, "light") if name in LIGHT else (PHONE, "dark")):
                assert serious_faults(browser) == [], (width, scheme)
            if folder:
                keep_picture(browser, Path(folder) / f"{name}-{width}-{scheme}.png", width)
    assert browser.all("[data-broken]") == []
    assert browser.log() == []
