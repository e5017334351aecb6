"""A headless Chromium, from the system's packages: nothing is downloaded, and it is skipped where there is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def programs() -> tuple[str, str]:
    """Paths of the browser and of its driver; skips the test that asks when one is missing."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("Chromium or its driver is not installed (apt-get install chromium chromium-driver)")
    return browser, driver


class Browser:
    """One tab, with what it logged and what it asked of any network.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._untouched: Path | None = None

    def look(self, page: Path) -> None:
        """As :meth:`open`, for a test that changes nothing: what another such test opened serves."""
        if self._untouched != page:
            self.open(page)
            self._untouched = page

    def open(self, page: Path, *, dark: bool = False, width: int = 1280, scripts: bool = True) -> None:
        """Load a file; returns when its pictures are drawn."""
        self._untouched = None
        self._emulate("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.media("screen", dark)
        self._emulate("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.driver.get("about:blank")
        self.logs()
        self.requests()
        self.driver.get(page.as_uri())
        if scripts:
            self.settle()

    def settle(self) -> None:
        """Wait until no picture is being drawn."""
        self.driver.set_script_timeout(20)
        drawn = self.driver.execute_async_script("""
            const done = arguments[0], since = Date.now();
            (function look() {
              const all = typeof drawn === "undefined" ? [] : [...drawn.values()];
              if (typeof drawn !== "undefined" && all.every(one => one.view)) requestAnimationFrame(() => done(true));
              else if (Date.now() - since > 15000) done(false);
              else setTimeout(look, 20);
            })();""")
        assert drawn, f"a picture was not drawn: {self.logs()}"

    def media(self, kind: str, dark: bool) -> None:
        """``screen`` or ``print``; what the person's system prefers."""
        self._emulate("Emulation.setEmulatedMedia", media=kind,
                      features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a function body in the page."""
        return self.driver.execute_script(script, *arguments)

    def logs(self) -> list[str]:
        """Console messages since the last call, of every level."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call, but for data: and about:."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [one["request"]["url"] for one in asked]
        return [url for url in urls if not url.startswith(("data:", "about:"))]

    def _emulate(self, command: str, **values: object) -> None:
        self.driver.execute_cdp_cmd(command, values)


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile, gone at the end."""
    path, driver = programs()
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = path
    for word in ("--headless=new", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
                 "--no-first-run", f"--user-data-dir={profile}"):
        options.add_argument(word)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
