"""What a compression reads before it begins: the data that its settings name, encoded, and its labels, tried."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.inference.batches import Predict
from pgb_core.progress.report import Report, Silent
from pgb_core.run import reading
from pgb_core.tasks import Source
from pgb_core.tasks.features import Features

FEW = 64  # inputs, below which a run is warned


@dataclass(frozen=True)
class Inputs:
    """Encoded data for scores and compensation, and for re-finetuning; and the rows whose labels count, as read."""

    calibration: list[Features]
    training: list[Features]
    labelled: Source | None = None
    calibrating: Source | None = None
    held_out: Source | None = None

    @cached_property
    def calibration_digest(self) -> str:
        """Of all that scores and compensation read."""
        return _digest(self.calibration)

    @cached_property
    def training_digest(self) -> str:
        """Of all that the re-finetuning reads."""
        return _digest(self.training)

    @property
    def calibration_tokens(self) -> int:
        """In all inputs together."""
        return sum(len(item.ids) for item in self.calibration)

    @property
    def training_tokens(self) -> int:
        """In all inputs together."""
        return sum(len(item.ids) for item in self.training)


def prepare(config: CompressConfig, checkpoint: Checkpoint, report: Report | None = None) -> Inputs:
    """Read and encode the data that the config names. Raises DataError or ConfigError."""
    report, subject = report or Silent(), checkpoint.subject
    options = reading.options_of(config)
    labelled = config.train and reading.read(config.train, subject, options, report, labelled="--train")
    training = _encoded(labelled, config, checkpoint, report) if labelled else []
    calibration, rows = training, None
    if config.calibrate:
        rows = reading.read(config.calibrate, subject, reading.options_of(config, unlabelled=True), report)
        calibration = _encoded(rows, config, checkpoint, report)
        if any(item.target is None for item in calibration):
            if any(item.target is not None for item in calibration):
                report.warn(f"{rows.short}: some rows have no label; scores use labels drawn from the model for all")
            calibration, rows = [replace(item, target=None) for item in calibration], None
    picked = _sample(calibration, config.samples, config.seed)
    if config.keep < 1 and len(picked) < FEW:
        report.warn(f"only {len(picked)} inputs to score and compensate on: the result depends on which they are")
    if not training and not config.distill and config.epochs and config.keep < 1:
        raise ConfigError("--no-distill without --train: nothing to re-finetune with; give labels or --epochs 0")
    held_out = config.eval and reading.read(config.eval, subject, options, report, "validation", "evaluation")
    return Inputs(picked, training or calibration, labelled or None, rows, held_out or None)


def check_labels(
    config: CompressConfig, checkpoint: Checkpoint, inputs: Inputs, predict: Predict, report: Report
) -> dict[str, object]:
    """What the dense model makes of the labels, for the manifest. Raises DataError when they contradict it."""
    tokenizer = checkpoint.served_tokenizer
    trial = reading.Trial(checkpoint.subject, tokenizer, predict, report, config.trust_labels, config.seed)
    learned = [source for source in (inputs.labelled, inputs.calibrating) if source is not None and config.keep < 1]
    if config.options.uses_labels or inputs.labelled is not None:
        for source in learned[1:]:
            trial.check(source, None)
    return trial.check(learned[0] if learned else None, inputs.held_out)


def _digest(features: Sequence[Features]) -> str:
    """Of all tokens and targets."""
    found = hashlib.sha256()
    for item in features:
        found.update(repr((item.ids, item.types, item.target)).encode())
    return found.hexdigest()


def _encoded(source: Source, config: CompressConfig, checkpoint: Checkpoint, report: Report) -> list[Features]:
    length = min(config.max_length or checkpoint.task.length, checkpoint.max_length)
    return checkpoint.task.encode(source, checkpoint.subject, checkpoint.tokenizer, length, report)


def _sample(features: Sequence[Features], count: int, seed: int) -> list[Features]:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)).tolist()
    return [features[i] for i in order[:count]]
