"""A real Chromium, for pages; whoever uses it is skipped where none is installed."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass
class Tab:
    """A page, and what it complained of: errors, violated policies, dialogs."""

    page: Page
    complaints: list[str] = field(default_factory=list[str])

    def heard(self, message: ConsoleMessage) -> None:
        """A refused call is an answer, not a complaint."""
        if message.type == "error" and "status of" not in message.text:
            self.complaints.append(message.text)


@asynccontextmanager
async def a_browser() -> AsyncGenerator[Browser]:
    """Without anybody's settings, cookies or network habits."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        try:
            yield browser
        finally:
            await browser.close()


async def a_tab(browser: Browser, **options: Any) -> Tab:
    """A page of its own, with its own cookies."""
    page = await (await browser.new_context(**options)).new_page()
    tab = Tab(page)
    page.on("console", tab.heard)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("dialog", lambda dialog: tab.complaints.append(f"dialog: {dialog.message}"))
    return tab
