"""Versions: ranges in pyproject.toml, exact ones where something is installed to be the same each time."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.tables.made import results

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_a_library_that_others_have_too_is_asked_for_by_range(name: str) -> None:
    """With a lower end, and without an upper one or an exact version, in every extra that names it."""
    asked = [found for extra in EXTRAS.values() for found in map(Requirement, extra) if found.name == name]
    assert asked
    assert {each.operator for found in asked for each in found.specifier} == {">="}
    assert len({str(found.specifier) for found in asked}) == 1


def test_make_and_the_image_of_the_job_have_one_exact_torch() -> None:
    """Within the range."""
    (pinned,) = set(re.findall(r"torch==([\d.]+)", (ROOT / "Makefile").read_text()))
    (locked,) = re.findall(r"^torch==([\d.]+)", (ROOT / "docker/locks/job.txt").read_text(), re.MULTILINE)
    assert pinned == locked
    (asked,) = [found for found in map(Requirement, EXTRAS["compress"]) if found.name == "torch"]
    assert asked.specifier.contains(pinned)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_nothing_is_installed_by_a_name_that_no_index_has(page: Path) -> None:
    """The project is installed from its clone."""
    assert re.findall(r"pip install [^\n`]*pgb-serve(?!`)", page.read_text("utf-8")) == []


def test_the_lower_ends_are_those_that_were_tried() -> None:
    """All that was tried there worked, with the first version that each range allows: benchmarks/results has them."""
    tried = results("versions")["ends"]["lower"]
    assert tried["status"] == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*map(Requirement, [*project["dependencies"], *EXTRAS["compress"]])]
    lowest = {found.name: each.version for found in asked for each in found.specifier if each.operator == ">="}
    del lowest["tokenizers"]  # the service's own; transformers asks for a later one
    assert {"torch", "transformers", "onnx", "onnxruntime", "fastapi", "pydantic", "uvicorn"} <= {*lowest}
    for name in lowest.keys() & tried["versions"].keys():
        assert f"{tried['versions'][name]}.".startswith(f"{lowest[name]}."), name


def test_no_message_says_to_install_the_package_from_an_index() -> None:
    """It is on none, so a package of that name there would be somebody else's."""
    files = [file for folder in ("pgb_core", "service") for file in (ROOT / folder).rglob("*.py")]
    assert [file.name for file in files if re.search(r"pip install[^\n]*pgb-serve\[", file.read_text("utf-8"))] == []
