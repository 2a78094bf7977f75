"""A real browser for the tests of pages: Chromium, through Playwright, with axe for accessibility.

Import the fixture `browser` into a test module; `visit` opens a page and keeps what went wrong while it loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DESK, PHONE = (1280, 900), (360, 740)


@pytest.fixture(scope="module")  # each module that imports it has its own, and there may be one at a time
def browser() -> Iterator[Browser]:
    """Chromium without a window; fails where there is none, because pages that nobody looked at prove nothing."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"These tests need a browser: install Chromium (one of {', '.join(PROGRAMS)} on the PATH).")
    with sync_playwright() as playwright:
        # Without a sandbox root may run it; the pages are our own.
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Visit:
    """An open page, with what it asked for and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def width(self) -> int:
        """How wide the page is, whatever the window shows of it."""
        found: int = self.page.evaluate("document.documentElement.scrollWidth")
        return found

    def violations(self) -> list[str]:
        """What axe finds: rule, element and reason of each."""
        found: dict[str, Any] = Axe().run(self.page).response
        return [
            f"{one['id']}: {node['html'][:160]} ({node['failureSummary']})"
            for one in found["violations"]
            for node in one["nodes"]
        ]


@contextmanager
def visit(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESK,
    scheme: str = "light",
    scripts: bool = True,
    **more: Any,
) -> Iterator[Visit]:
    """Open a URL in a window of its own. `scheme` is light or dark; `more` goes to Playwright's new_context."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=scripts,
        **more,
    )

    def hear(message: ConsoleMessage) -> None:
        found.complaints.append(message.text)

    def refuse(dialog: Dialog) -> None:
        found.complaints.append(dialog.message)
        dialog.dismiss()

    try:
        found = Visit(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("console", hear)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("dialog", refuse)
        found.page.goto(url)
        yield found
    finally:
        context.close()
