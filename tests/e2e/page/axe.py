"""axe-core, which finds faults of accessibility. `make axe` installs it by npm into the user's cache."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.e2e.browser import Browser

AXE = Path.home() / ".cache" / "divisions-axe" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


@functools.cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


def need_axe() -> None:
    if not AXE.is_file():
        pytest.skip(f"needs axe-core in {AXE}: `make axe` installs it where npm is")


def serious_faults(browser: Browser) -> list[str]:
    """What axe finds in the page as it is: the rule, and the elements at fault."""
    if not browser.run("return typeof axe !== 'undefined'"):
        browser.driver.execute_script(_source())
    options = "{resultTypes: ['violations'], preload: false}"
    found = browser.run(f"return (await axe.run(document, {options})).violations")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
