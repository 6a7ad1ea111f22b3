"""A real browser for the page's tests: Debian's Chromium, driven by Selenium, without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

WAIT_S = 120.0


class Browser:
    """One window. Tests read its text by CSS selectors."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get("about:blank")  # Otherwise an address that differs only in its fragment would not be loaded.
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """The rendered text of the first match; empty without one."""
        for _ in range(20):
            try:
                return next((element.text for element in self.all(selector)), "")
            except StaleElementReferenceException:
                continue  # The element was rebuilt between finding and reading.
        raise AssertionError(f"{selector} never stands still")

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        ends_s = time.monotonic() + timeout_s
        while not (found := condition()):
            if time.monotonic() > ends_s:
                raise AssertionError(f"{what} did not come about; the page says:\n{self.text('body')}\n{self.log()}")
            time.sleep(0.05)
        return found

    def wait_for_text(self, selector: str, part: str, timeout_s: float = WAIT_S) -> str:
        self.wait_for(lambda: part in self.text(selector), f"{part!r} in {selector}", timeout_s)
        return self.text(selector)

    def press(self, selector: str) -> None:
        (element,) = self.all(selector)
        element.click()

    def run(self, script: str, *arguments: object) -> Any:
        """Runs JavaScript in the page and returns its result; ``await`` works."""
        wrapped = (
            "const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
            f"(async () => {{ {script} }})()"
            ".then((value) => done({value}), (error) => done({error: String(error)}))"
        )
        answer = self.driver.execute_async_script(wrapped, *arguments)
        assert "error" not in answer, answer
        return answer.get("value")

    def log(self) -> list[str]:
        """New messages of the console: errors of scripts, violations of the policy, failed requests."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]


def find_browser() -> tuple[str, str]:
    """The paths of Chromium and its driver. Skips the test without them (`make test` installs them on Debian)."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs chromium and chromedriver on the path; Debian: apt-get install chromium chromium-driver")
    return chromium, chromedriver


@contextmanager
def open_browser(*further: str, trusts: Path | None = None) -> Iterator[Browser]:
    """Starts Chromium with further options. ``trusts`` is the certificate of an authority that its user has added."""
    chromium, chromedriver = find_browser()
    options = ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="dv-chromium-", ignore_cleanup_errors=True) as profile:
        for argument in (
            *further, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync",
            "--window-size=1280,1600", f"--user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(argument)
        service = ChromeService(chromedriver, env={**os.environ, "HOME": profile}) if trusts else None
        if trusts:
            _trust(Path(profile), trusts)
        driver = Chrome(options=options, service=service or ChromeService(chromedriver))
        driver.set_script_timeout(WAIT_S)
        try:
            yield Browser(driver)
        finally:
            driver.quit()


def _trust(home: Path, authority: Path) -> None:
    """Adds an authority to those of a user, where Chromium on Linux looks for them."""
    if (certutil := shutil.which("certutil")) is None:
        pytest.skip("needs certutil; Debian: apt-get install libnss3-tools")
    place = home / ".pki" / "nssdb"
    place.mkdir(parents=True)
    for arguments in (
        ("-N", "--empty-password"),
        ("-A", "-n", "authority", "-t", "C,,", "-i", str(authority)),
    ):
        subprocess.run([certutil, "-d", f"sql:{place}", *arguments], check=True, stdin=subprocess.DEVNULL, timeout=60)
