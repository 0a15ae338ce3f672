"""Writes every page."""

from __future__ import annotations

from benchmarks.tables import filled, pages
from benchmarks.tables.made import ROOT


def main() -> None:
    """Fill the tables of every page, and name the pages that changed."""
    for page in pages():
        before = page.read_text("utf-8")
        if filled(before) != before:
            page.write_text(filled(before), "utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
