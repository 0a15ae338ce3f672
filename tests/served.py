"""Served models: small, random, and as real as any."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from tests.core.small import WORDS, checkpoint


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier named `mood` and a QA model named `who`."""
    folder = tmp_path_factory.mktemp("served")
    lines = folder / "lines.txt"
    lines.write_text("\n".join(f"the {a} was {b}" for a in WORDS for b in WORDS[:3]))
    squad = folder / "squad.json"
    squad.write_text(
        '{"data": [{"paragraphs": [{"context": "the town sang a song",'
        ' "qas": [{"id": "1", "question": "who sang"}]}]}]}'
    )
    made = []
    for name, task, data in (("mood", "classification", lines), ("who", "qa", squad)):
        model = checkpoint(folder / f"{name}-model", "bert", task)
        config = CompressConfig(str(model), str(folder / name), calibrate=str(data), keep=0.5, epochs=0, passes=1)
        made.append(compress(config).path)
    return made[0], made[1]
