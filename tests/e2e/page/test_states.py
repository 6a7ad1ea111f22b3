"""The page in each state of a cluster: nothing breaks, fits a phone, and axe-core finds no serious fault.

``--pictures FOLDER`` keeps what each looks like.
"""

from __future__ import annotations

import pytest

from tests.e2e.page.axe import need_axe, serious_faults
from tests.e2e.page.scenes import SCENES
from tests.e2e.screenshots import DESK, PHONE, keep_picture, look

pytestmark = pytest.mark.e2e

LIGHT = ("empty", "running", "controller_away")
"""Looked at by axe with a desk's width; the others as a dark phone. It takes seconds for fifty models."""


@pytest.mark.parametrize("name", SCENES)
def test_a_state_is_shown_whole_for_everybody(browser, documents, pytestconfig, name):
    need_axe()
    documents.say(SCENES[name]())
    browser.open(f"{documents.url}#token=secret")
    browser.wait_for(lambda: browser.text("#now-title"), "the sentence at the top")
    if SCENES[name]().away:
        browser.wait_for_text("#connection", "away")
    folder = pytestconfig.getoption("--pictures")
    for width in (DESK, PHONE):
        for scheme in ("light", "dark"):
            look(browser, width, scheme)
            assert browser.run("return document.documentElement.scrollWidth") <= width
            if name != "many_models" and (width, scheme) == ((DESK, "light") if name in LIGHT else (PHONE, "dark")):
                assert serious_faults(browser) == [], (width, scheme)
            if folder:
                keep_picture(browser, folder / f"{name}-{width}-{scheme}.png", width)
    assert browser.all("[data-broken]") == []
    assert browser.log() == []
