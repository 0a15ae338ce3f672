"""A server with small models, and pages of a browser that look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed; pip install '.[dev]'")

from playwright.sync_api import Browser

from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from tests.served import serving
from tests.ui.browser import VARIABLE, Watched, chromium

WAIT_MS = 20_000
Opened = Callable[..., Watched]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for these tests alone: other tests run event loops of their own."""
    with chromium() as found:
        if found is None:
            pytest.skip(f"no Chromium on the PATH; install one, or name it in {VARIABLE}")
        yield found


@pytest.fixture(scope="package")
def models(artifacts: tuple[Path, Path]) -> tuple[Path, Path, Path]:
    """`mood`, compressed; `mood-dense`, what it was made from; `who`, for questions."""
    mood, who = artifacts
    checkpoint = mood.parent / "mood-model"
    place = {"checkpoint": str(checkpoint), "out": str(mood.parent / "mood-dense")}
    dense = compress(CompressConfig(**place, keep=1.0, forms="fp32")).path
    return mood, dense, who


@pytest.fixture(scope="package")
def url(models: tuple[Path, Path, Path]) -> Iterator[str]:
    """A server with the three models."""
    with serving(*models) as (found, _):
        yield found


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens a page and waits for its models. Afterwards it has complained of nothing, and asked no other host."""
    pages: list[tuple[Watched, str]] = []

    def open_page(url: str, path: str = "/ui", ready: bool = True, **context: object) -> Watched:
        watched = Watched(browser.new_context(**context).new_page())  # type: ignore[arg-type]
        watched.page.set_default_timeout(WAIT_MS)
        pages.append((watched, url.partition("//")[2]))
        watched.page.goto(f"{url}{path}")
        if ready:
            watched.page.locator("#state.good").wait_for()
        return watched

    yield open_page
    for watched, host in pages:
        assert watched.complaints() == []
        assert watched.hosts == {host}
        watched.page.context.close()
