"""A real Chromium, and a page that tells on itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

VARIABLE = "CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Set before anything else runs in the page.
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


def executable(playwright: Playwright) -> str | None:
    """A browser: the one that $CHROMIUM names, one on the PATH, or Playwright's own; else None."""
    found = [os.environ.get(VARIABLE), *map(shutil.which, NAMES), playwright.chromium.executable_path]
    return next((path for path in found if path and Path(path).is_file()), None)


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """Started; None where there is no browser. Inside it this thread runs an event loop of Playwright's."""
    with sync_playwright() as playwright:
        path = executable(playwright)
        if path is None:
            yield None
            return
        # A container's root has no sandbox, and little shared memory.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page with what it said, and where it went.

    errors: uncaught exceptions and lines of the console above a warning, but for `allowed`, which are
    parts of lines that a test provokes. hosts: every host that was asked, over any scheme that leaves the page.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    allowed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.page.add_init_script(_LISTEN)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._went(request.url))

    def complaints(self) -> list[str]:
        """Errors that no test provoked, and violations of the content security policy."""
        unexpected = [error for error in self.errors if not any(part in error for part in self.allowed)]
        violations: list[Any] = self.page.evaluate("window.violations")
        return unexpected + [str(violation) for violation in violations]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _went(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.netloc)
