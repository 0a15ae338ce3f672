"""The glossary names files that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_word_lives_where_the_glossary_says() -> None:
    """Its file or folder exists."""
    named = re.findall(r"`((?:pgb_core|service)/[\w/.]+)`", (ROOT / "docs/glossary.md").read_text("utf-8"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
