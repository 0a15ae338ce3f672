"""Compares the dense model with transformers, from text to logits, before any work begins."""

from __future__ import annotations

from pathlib import Path

from pgb_core.checkpoints.load import Checkpoint, load_checkpoint
from pgb_core.export.forms import channels_first
from pgb_core.export.parity import Parity, check_texts, inputs_of
from pgb_core.model.predict import torch_predictor
from pgb_core.progress.report import Report
from pgb_core.session import open_session, predictor


def gate(checkpoint: Checkpoint) -> Parity:
    """From the probe texts to logits: transformers, our model, and its dense graph, by way of the artifact's tokenizer.

    Needs a checkpoint that was loaded with `probed`. Raises CheckpointError or ParityError naming the setting.
    """
    model, settings = checkpoint.model, checkpoint.settings
    features = inputs_of(checkpoint.probes, checkpoint.reading, checkpoint.task)
    check_texts(torch_predictor(model), checkpoint.probes, features, settings)
    graph_predict = predictor(open_session(channels_first(model).SerializeToString()), model.config)
    return check_texts(graph_predict, checkpoint.probes, features, settings)


def load_checked(source: str | Path, task: str | None, report: Report) -> tuple[Checkpoint, Parity]:
    """A checkpoint that reads and answers as it does in transformers; what was read is told. Raises PGBError."""
    checkpoint = load_checkpoint(source, task, probed=True)
    for said in checkpoint.notes:
        report.note(said)
    for said in checkpoint.warnings:
        report.warn(said)
    return checkpoint, gate(checkpoint)
