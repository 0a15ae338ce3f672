"""One artifact, three ways to its answers: `pgb evaluate`, `pgb_core.load` and the service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import pgb_core
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow, read_data
from pgb_core.inference.batches import run_all
from pgb_core.measure.scoring import score
from pgb_core.pipeline import compress
from pgb_core.tasks.qa import answered
from pgb_core.tasks.squad import squad_metrics
from service.app import create_app
from service.settings import Settings
from tests.core.small import WORDS
from tests.made import Make

REAL = {"data/squad/squad-dev-v1.1-half.json": 60, "data/squad/squad-dev-v2.0-half.json": 20}


def asked(file: Path) -> list[QuestionRow]:
    """All questions of a file."""
    return [row for row in read_data(file, "questions").rows if isinstance(row, QuestionRow)]


def written(rows: Sequence[QuestionRow], folder: Path) -> Path:
    """The rows as a file of their own."""
    entries = [
        {
            "context": row.context,
            "qas": [
                {
                    "id": row.where,
                    "question": row.question,
                    "answers": [{"text": text, "answer_start": at} for text, at in row.answers or ()],
                    "is_impossible": not row.answers,
                }
            ],
        }
        for row in rows
    ]
    path = folder / "picked.json"
    path.write_text(json.dumps({"data": [{"paragraphs": entries}]}))
    return path


def served(client: TestClient, rows: Sequence[QuestionRow], **options: object) -> list[str]:
    """What the service answers to each question by itself."""
    found = []
    for row in rows:
        reply = client.post("/v1/answer", json={"question": row.question, "context": row.context, **options})
        assert reply.status_code == 200, reply.text
        found.append(reply.json()["results"][0][0]["answer"])
    return found


def hold(artifact: Path, rows: Sequence[QuestionRow], folder: Path) -> None:
    """The answers one by one, and the figures as they come of the service's answers."""
    with pgb_core.load(artifact, threads=1) as loaded:
        evaluated, margins = answered(rows, loaded.tokenizer, partial(run_all, loaded.runtime.run))
        alone = [loaded.answer(row.question, row.context)[0].text for row in rows]
    with TestClient(create_app(Settings(artifacts=(str(artifact),), threads=1))) as client:
        spoken, silent = served(client, rows), served(client, rows, handle_impossible=True)
    assert evaluated == alone == spoken
    assert ["" if margin > 0 else text for text, margin in zip(evaluated, margins, strict=True)] == silent
    whole = all(row.answers for row in rows)
    wanted = squad_metrics(rows, spoken if whole else silent, margins)
    found = score(artifact, written(rows, folder))
    assert [found[name] for name in ("exact_match", "f1")] == [wanted[name] for name in ("exact_match", "f1")]


def test_a_small_model_answers_alike_by_all_three(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Contexts of one window and of several, questions with an answer and without."""
    g = np.random.default_rng(0)
    rows = []
    for n in range(40):
        words = g.choice(WORDS, g.choice((5, 20, 90))).tolist()
        at = len(" ".join(words[:3])) + 1
        answers = ((words[3], at),) if n % 3 else ()
        rows.append(QuestionRow(" ".join(g.choice(WORDS, 3)), " ".join(words), answers, f"here {n}"))
    hold(artifacts[1], rows, tmp_path)
    hold(artifacts[1], [row for row in rows if row.answers], tmp_path)


@pytest.mark.parametrize("paired", [False, True])
def test_a_small_model_labels_alike_by_all_three(paired: bool, make: Make, tmp_path: Path) -> None:
    """Texts and pairs, some of them cut: the accuracy is that of the service's labels, which are those of a call."""
    artifact = make("electra", plan="dense").path  # which gives some of either label
    g = np.random.default_rng(0)
    made = [
        {"sentence1": " ".join(g.choice(WORDS, 3 + n % 90)), "sentence2": " ".join(g.choice(WORDS, 60 - n % 55))}
        for n in range(60)
    ]
    file = tmp_path / "rows.jsonl"
    rows = [(row if paired else {"text": row["sentence1"]}) | {"label": n % 2} for n, row in enumerate(made)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [row["sentence1"] for row in made]
    pairs = [row["sentence2"] for row in made] if paired else None
    with pgb_core.load(artifact, "fp32", threads=1) as loaded:
        called = [found[0]["label"] for found in loaded(texts, pairs, top_k=1)]
    inputs = [{"text": row["sentence1"], "pair": row["sentence2"]} for row in made] if paired else texts
    settings = Settings(artifacts=(str(artifact),), form="fp32", threads=1)
    with TestClient(create_app(settings)) as client:
        reply = client.post("/v1/classify", json={"inputs": inputs, "top_k": 1})
    labels = [found[0]["label"] for found in reply.json()["results"]]
    assert labels == called
    assert len(set(labels)) == 2
    hits = sum(label == f"LABEL_{row['label']}" for label, row in zip(labels, rows, strict=True))
    assert score(artifact, file)["accuracy"] == hits / len(rows)


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of all of a checkpoint."""
    out = tmp_path_factory.mktemp("real") / "answers"
    checkpoint = str(shared / "models/minilm-l6-qa")
    return compress(CompressConfig(checkpoint=checkpoint, out=str(out), keep=1.0, device="cpu", forms="fp32")).path


@pytest.mark.slow
@pytest.mark.parametrize("file", REAL)
def test_a_real_model_answers_alike_by_all_three(shared: Path, real: Path, file: str, tmp_path: Path) -> None:
    """Questions of SQuAD 1.1, and of 2.0, where some have no answer."""
    rows = asked(shared / file)
    hold(real, rows[:: len(rows) // REAL[file]][: REAL[file]], tmp_path)
