"""How the page looks to a person: its width and colours, and pictures of it."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.e2e.browser import Browser

PHONE, DESK = 400, 1280
MOST_HEIGHT = 9_000


def look(browser: Browser, width: int, scheme: str) -> None:
    """Gives the page a width, and the light or dark colours."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.run("await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")


def keep_picture(browser: Browser, path: Path, width: int, most_height: int = MOST_HEIGHT) -> None:
    """Writes the page as it is now, from its top."""
    height = browser.run("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, most_height), "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(browser.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]))
