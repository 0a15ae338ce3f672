"""Links and pictures of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    """Files of this repository; other sites are not asked."""
    targets = [target for target, _ in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_and_picture_is_linked_to() -> None:
    """None is lost."""
    linked = {(page.parent / target).resolve() for page in PAGES for target, _ in _LINK.findall(page.read_text())}
    assert {page for page in (ROOT / "docs").glob("*.md") if page not in linked} == set()
    assert {picture for picture in (ROOT / "docs/images").iterdir() if picture not in linked} == set()
