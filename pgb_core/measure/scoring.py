"""Metrics of a checkpoint or an artifact, whichever a path holds."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from pgb_core.artifact import MANIFEST, Artifact, open_artifact
from pgb_core.gate import load_checked
from pgb_core.model.predict import Predict, runner, torch_predictor
from pgb_core.progress.report import Report, Silent
from pgb_core.run.reading import Options, Trial, read
from pgb_core.session import open_session, predictor
from pgb_core.tasks import TASKS, Subject
from pgb_core.tasks.metrics import Metrics
from pgb_core.threads import threads

_PLAIN = Options()


def score(
    source: str | Path,
    data: str | Path,
    task: str | None = None,
    options: Options = _PLAIN,
    report: Report | None = None,
) -> Metrics:
    """Official metrics on labelled rows: PyTorch for a checkpoint, ONNX Runtime for an artifact.

    options: how the file is read. report: who is told what was read.
    """
    report = report or Silent()
    with threads():
        if (Path(source) / MANIFEST).is_file():
            subject, tokenizer, predict = _artifact(open_artifact(source))
        else:
            checkpoint, _ = load_checked(source, task, report)
            subject, tokenizer = checkpoint.subject, checkpoint.tokenizer
            predict = torch_predictor(checkpoint.model)
        found = read(str(data), subject, options, report, "validation", "evaluation")
        Trial(subject, tokenizer, predict, report).check(None, found)
        return subject.task.score(found, subject, tokenizer, runner(predict, subject.pad_id))


def _artifact(artifact: Artifact) -> tuple[Subject, Tokenizer, Predict]:
    m = artifact.manifest
    tokenizer = Tokenizer.from_file(str(artifact.tokenizer))
    side = (tokenizer.truncation or {}).get("direction", "right")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    subject = Subject(TASKS[m.task], m.labels, m.provenance.get("problem_type"), m.max_length, m.pad_id, side)
    return subject, tokenizer, predictor(open_session(artifact.model))
