"""A real Chromium that looks at pages, and hears what goes wrong in them.

In CI, a test that lacks Chromium fails; elsewhere it is skipped, with the reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"

_PATIENCE = 15_000  # milliseconds until something that does not come is a failure

needs_chromium = pytest.mark.skipif(
    not os.path.exists(CHROMIUM) and not os.environ.get("CI"), reason="Chromium is not installed (Debian package chromium)"
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser of the system."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Looked:
    """A page in a window of its own; `trouble` is what a developer would see in red, `hosts` whom it has asked for anything."""

    page: Page
    context: BrowserContext
    url: str
    trouble: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def open(self, path: str) -> None:
        """Go there, and wait until all that it loads at once is there."""
        await self.page.goto(self.url + path, wait_until="load")

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    async def faults(self) -> list[str]:
        """What axe finds against WCAG 2.2 AA and good practice."""
        found = await Axe().run(self.page)
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
            for one in found.response["violations"]
        ]

    def hears_nothing(self) -> None:
        """Nothing went wrong, and nobody but the mirror was asked."""
        assert self.trouble == []
        assert self.hosts <= {urlsplit(self.url).netloc}


@asynccontextmanager
async def looking(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    scheme: Any = "light",
    locale: str = "en-GB",
    js: bool = True,
    rights: Sequence[str] = (),
) -> AsyncIterator[Looked]:
    """A window of so many pixels, with the wishes of a user."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        locale=locale,
        java_script_enabled=js,
        permissions=list(rights),
        reduced_motion="reduce",
    )
    page = await context.new_page()
    page.set_default_timeout(_PATIENCE)
    looked = Looked(page, context, url)
    # Violations of the Content-Security-Policy are errors on the console.
    page.on("console", lambda message: looked.trouble.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: looked.trouble.append(str(error)))
    page.on("request", lambda request: looked.hosts.add(urlsplit(request.url).netloc))
    page.on("requestfailed", lambda request: looked.trouble.append(request.url) if request.failure != "net::ERR_ABORTED" else None)
    try:
        yield looked
    finally:
        await context.close()
