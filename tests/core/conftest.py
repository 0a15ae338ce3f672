"""Data files of a few words."""

import json
from pathlib import Path

import pytest
import torch

from pgb_core.learn import precision
from tests.core.small import WORDS


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Labelled rows of a few words."""
    g = torch.Generator().manual_seed(0)
    rows = []
    for n in range(80):
        picked = [WORDS[i] for i in torch.randint(0, len(WORDS), (3 + n % 9,), generator=g).tolist()]
        rows.append({"text": " ".join(picked), "label": n % 2})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Questions about a few words."""
    context = "the film was very good and it began where the town sang a dull song"
    qas = [
        {"id": str(n), "question": "who sang it", "answers": [{"text": w, "answer_start": context.index(w)}]}
        for n, w in enumerate(["good", "town sang", "a dull song", "film"])
    ]
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas * 6}]}]}))
    return path


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training computes in float32 on every processor."""
    monkeypatch.setattr(precision, "fast_bf16", lambda device: False)
