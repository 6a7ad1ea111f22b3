"""One browser for the tests of a file, and a gateway for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.browser import Browser, open_browser
from tests.e2e.page.documents_server import DocumentsServer
from tests.e2e.page.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    it = Stage()
    yield it
    it.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_browser() as it:
        yield it


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The window, without the state of earlier tests."""
    chromium.driver.get("about:blank")
    chromium.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.log()
    return chromium


@pytest.fixture(scope="module")
def documents() -> Iterator[DocumentsServer]:
    it = DocumentsServer()
    yield it
    it.close()
