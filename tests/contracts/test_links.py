"""Links and pictures of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
_TO_HEADING = re.compile(r"\]\(([^)#\s]*)#([^)]*)\)")
_FILE = re.compile(r"`((?:pgb_core|service|benchmarks|tests|deploy|docker|examples)/[\w./-]+)`")
_IN_FILE = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`\s+(?:in|of|\()\s*`([\w/]+/[\w/.]+\.py)`")
_PART = re.compile(r"`([A-Z]\w+)\.([a-z_]\w*)")
_CHOSEN = re.compile(r"[A-Z]{3,}")
_TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
_BLOCK = re.compile(r"```.*?```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    """Files of this repository; other sites are not asked."""
    targets = [target for target, _ in _LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_heading_that_a_page_links_to_is_there(page: Path) -> None:
    """In the page itself, or in the one that is named."""
    links = [(target, name) for target, name in _TO_HEADING.findall(page.read_text()) if "://" not in target]
    found = [(page.parent / target if target else page, name) for target, name in links]
    assert [name for other, name in found if name not in anchors(other)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_of_the_code_that_a_page_names_is_there(page: Path) -> None:
    """A name in capitals, such as NAME, stands for one that is to be chosen."""
    named = _FILE.findall(page.read_text())
    assert [path for path in named if not _CHOSEN.search(path) and not (ROOT / path).exists()] == []


def test_a_test_that_a_page_names_is_there() -> None:
    """By its name, in any file of tests."""
    known = {name for file in (ROOT / "tests").rglob("*.py") for name in _TEST.findall(file.read_text())}
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_is_in_a_file_is_there(page: Path) -> None:
    """`name` in `path`, and `name` (`path`): a class, a function or a table by its name, or a part of a class."""
    named = [(name, path) for name, path in _IN_FILE.findall(page.read_text()) if not _CHOSEN.search(path)]
    assert [(name, path) for name, path in named if not _is_in(name, _file(path))] == []


def test_a_part_of_a_class_that_a_page_names_is_there() -> None:
    """`Class.part`, where the class is one of the code's."""
    code = [file.read_text() for folder in ("pgb_core", "service") for file in (ROOT / folder).rglob("*.py")]
    homes = {name: text for text in code for name in re.findall(r"^class (\w+)", text, re.MULTILINE)}
    named = {pair for page in PAGES for pair in _PART.findall(page.read_text())}
    ours = {(name, part) for name, part in named if name in homes}
    assert ours
    assert {(name, part) for name, part in ours if not re.search(rf"\b{part}\b", homes[name])} == set()


def _is_in(name: str, file: Path) -> bool:
    return file.exists() and all(re.search(rf"\b{part}\b", file.read_text()) for part in name.split("."))


def _file(path: str) -> Path:
    """A path, as pages write it: from the root, or from `pgb_core`."""
    return ROOT / path if (ROOT / path).exists() else ROOT / "pgb_core" / path


def test_every_page_and_picture_is_linked_to() -> None:
    """None is lost."""
    linked = {(page.parent / target).resolve() for page in PAGES for target, _ in _LINK.findall(page.read_text())}
    assert {page for page in (ROOT / "docs").glob("*.md") if page not in linked} == set()
    assert {picture for picture in (ROOT / "docs/images").iterdir() if picture not in linked} == set()
