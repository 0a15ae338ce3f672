"""The figures of the documentation are those that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_tables_are_as_the_results_have_them(page: Path) -> None:
    """`python -m benchmarks.tables` writes them."""
    text = page.read_text("utf-8")
    assert tables.filled(text) == text


def test_every_table_stands_somewhere() -> None:
    """And is filled."""
    text = "".join(page.read_text("utf-8") for page in tables.pages())
    for name, made in tables.TABLES.items():
        assert f"<!-- table: {name} -->\n{made()}<!-- end -->" in text
