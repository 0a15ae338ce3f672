"""Metrics of a checkpoint or an artifact, whichever a path holds."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from pgb_core.artifact import MANIFEST, Artifact, open_artifact
from pgb_core.encoders import load_checkpoint
from pgb_core.evaluate import Predict, Progress, Subject, evaluate, torch_predictor
from pgb_core.metrics import Metrics
from pgb_core.pipeline import Report, Silent, subject_of
from pgb_core.reading import Options, read
from pgb_core.session import open_session, predictor

_PLAIN = Options()


def score(
    source: str | Path,
    data: str | Path,
    task: str | None = None,
    progress: Progress = lambda n: None,
    options: Options = _PLAIN,
    report: Report | None = None,
) -> Metrics:
    """Official metrics on labelled rows: PyTorch for a checkpoint, ONNX Runtime for an artifact.

    options: how the file is read. report: who is told what was read.
    """
    if (Path(source) / MANIFEST).is_file():
        artifact = open_artifact(source)
        subject = _subject(artifact)
        tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
        predict: Predict = predictor(open_session(artifact.model))
    else:
        checkpoint = load_checkpoint(source, task)
        subject, tokenizer = subject_of(checkpoint), checkpoint.tokenizer
        predict = torch_predictor(checkpoint.model)
    found = read(str(data), subject, options, report or Silent(), "validation", "evaluation")
    return evaluate(predict, found.rows, tokenizer, subject, progress, options.labels)


def _subject(artifact: Artifact) -> Subject:
    m = artifact.manifest
    return Subject(m.task, m.labels, m.provenance.get("problem_type"), m.max_length, m.pad_id)
