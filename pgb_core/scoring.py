"""Metrics of a checkpoint or an artifact, whichever a path holds."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from pgb_core.artifact import MANIFEST, Artifact, open_artifact
from pgb_core.data import read_rows
from pgb_core.encoders import load_checkpoint
from pgb_core.evaluate import Progress, Subject, evaluate, torch_predictor
from pgb_core.pipeline import subject_of
from pgb_core.session import open_session, predictor
from pgb_core.threads import threads


def score(
    source: str | Path, data: str | Path, task: str | None = None, progress: Progress = lambda n: None
) -> dict[str, float]:
    """Official metrics on labelled rows: PyTorch for a checkpoint, ONNX Runtime for an artifact."""
    with threads():
        if (Path(source) / MANIFEST).is_file():
            return _artifact(open_artifact(source), data, progress)
        checkpoint = load_checkpoint(source, task)
        rows = read_rows(data, checkpoint.task)
        return evaluate(torch_predictor(checkpoint.model), rows, checkpoint.tokenizer, subject_of(checkpoint), progress)


def _artifact(artifact: Artifact, data: str | Path, progress: Progress) -> dict[str, float]:
    m = artifact.manifest
    predict = predictor(open_session(artifact.model))
    tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
    side = (tokenizer.truncation or {}).get("direction", "right")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    subject = Subject(m.task, m.labels, m.provenance.get("problem_type"), m.max_length, m.pad_id, side)
    return evaluate(predict, read_rows(data, m.task), tokenizer, subject, progress)
