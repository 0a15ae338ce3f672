"""Reads a compression's data before it begins, and encodes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.export.ranges import MOST
from pgb_core.progress.report import Report
from pgb_core.run import reading
from pgb_core.tasks import Source
from pgb_core.tasks.features import Features
from pgb_core.tasks.parts import seen, some

FEW = 64  # inputs, below which a run is warned
MANY = 10  # times the rows to learn from: of so many held-out rows a run is warned
SOME = 512  # held-out rows at most, on which models between two stages are scored


@dataclass(frozen=True)
class Inputs:
    """Encoded data for scores and compensation, and for re-finetuning; and the rows whose labels count, as read.

    sources: all rows to learn from, whether or not their labels count.
    """

    calibration: list[Features]
    training: list[Features]
    labelled: Source | None = None
    calibrating: Source | None = None
    held_out: Source | None = None
    sources: tuple[Source, ...] = ()

    def judged(self, part: Callable[[Source], Source]) -> Inputs:
        """The same, with a part of the held-out rows."""
        return replace(self, held_out=part(self.held_out)) if self.held_out is not None else self

    def renumbered(self, new: Mapping[int, int]) -> Inputs:
        """A copy with other ids. new: each id by the old one."""
        calibration, training = (
            [replace(item, ids=[new[n] for n in item.ids]) for item in items]
            for items in (self.calibration, self.training)
        )
        return replace(self, calibration=calibration, training=training)

    @property
    def learned(self) -> list[Features]:
        """Rows that a form may be made and tried by, whether or not their labels count."""
        return self.calibration or self.training

    @property
    def observed(self) -> list[Features]:
        """Rows that forms take their ranges from. Where none are held out, half of them at most: the others judge."""
        return self.learned[: MOST if self.held_out is not None else min(MOST, len(self.learned) // 2)]

    @cached_property
    def some(self) -> Source | None:
        """Held-out rows for the models between two stages: all, or `SOME` of them."""
        return some(self.held_out, SOME) if self.held_out is not None else None

    @cached_property
    def calibration_digest(self) -> str:
        """A digest of all that scores and compensation read."""
        return _digest(self.calibration)

    @cached_property
    def training_digest(self) -> str:
        """A digest of all that the re-finetuning reads."""
        return _digest(self.training)

    @cached_property
    def held_out_digest(self) -> str:
        """A digest of the rows that models are judged by, and of what their labels mean to the head."""
        if self.held_out is None:
            return hashlib.sha256().hexdigest()
        rows, targets = [replace(row, where="") for row in self.held_out.rows], list(self.held_out.targets)
        return hashlib.sha256(repr((rows, targets)).encode()).hexdigest()


def read_inputs(config: CompressConfig, checkpoint: Checkpoint, report: Report, promises: bool = False) -> Inputs:
    """Read and encode the data that the config names. Raises DataError or ConfigError.

    promises: rows that are learned and judged are told by who promises a loss, and may refuse them.
    """
    _tell_length(config, checkpoint, report)
    labelled, training = _training(config, checkpoint, report)
    given, calibration = _calibration(config, checkpoint, training, report)
    picked = _sample(calibration, config.samples, config.seed)
    _check_enough(config, picked, training, report)
    sources = [source for source in (labelled, given) if source is not None]
    held_out = _held_out(config, checkpoint, sources, report, promises)
    learned = training or calibration
    if sources and config.more_text and config.trains and not config.as_it_is:
        made = _more(sources[0], config, checkpoint, report)
        sources.append(made)
        learned = [*learned, *(replace(item, row=-1 - item.row) for item in _encoded(made, config, checkpoint, report))]
    counts = given is not None and all(item.target is not None for item in calibration)
    return Inputs(picked, learned, labelled, given if counts else None, held_out, tuple(sources))


def _tell_length(config: CompressConfig, checkpoint: Checkpoint, report: Report) -> None:
    """Say where --max-length asks for more tokens than the checkpoint takes."""
    if config.max_length is not None and config.max_length > checkpoint.max_length:
        report.note(
            f"--max-length {config.max_length}: the checkpoint takes {checkpoint.max_length} tokens, so rows to "
            "learn from are cut there"
        )


def _training(config: CompressConfig, checkpoint: Checkpoint, report: Report) -> tuple[Source | None, list[Features]]:
    """The rows of --train, encoded; None without any."""
    if config.train is None:
        return None, []
    options = reading.options_of(config)
    source = reading.read(config.train, checkpoint.subject, options, report, labelled="--train")
    found = _read(source, config, checkpoint, report)
    if config.as_it_is:
        report.note(
            f"{source.short}: nothing is learned from these rows, as keep 1 exports the dense model unchanged; they "
            "set the ranges of int8 forms"
        )
    return source, found


def _calibration(
    config: CompressConfig, checkpoint: Checkpoint, training: list[Features], report: Report
) -> tuple[Source | None, list[Features]]:
    """The rows of --calibrate, encoded, with labels where all have one; without any None, and those to learn from."""
    if config.calibrate is None:
        return None, training
    options = reading.options_of(config, unlabelled=True)
    source = reading.read(config.calibrate, checkpoint.subject, options, report)
    found = _read(source, config, checkpoint, report)
    known = sum(item.target is not None for item in found)
    if 0 < known < len(found):
        report.warn(f"{source.short}: some rows have no label; scores use labels drawn from the model for all")
        found = [replace(item, target=None) for item in found]
    return source, found


def _check_enough(
    config: CompressConfig, picked: Sequence[Features], training: Sequence[Features], report: Report
) -> None:
    """Warn of few rows to score on. Raises ConfigError where nothing teaches the re-finetuning."""
    if config.as_it_is:
        return
    if len(picked) < FEW:
        report.warn(f"only {len(picked)} inputs to score and compensate on: the result depends on which they are")
    if not training and not config.distill and config.trains:
        raise ConfigError("--no-distill without --train: nothing to re-finetune with; give --train, or leave it out")


def _held_out(
    config: CompressConfig, checkpoint: Checkpoint, learned: Sequence[Source], report: Report, promises: bool
) -> Source | None:
    """The rows of --eval, held against those to learn from; None without any."""
    found = None
    if config.eval is not None:
        options = reading.options_of(config)
        found = reading.read(config.eval, checkpoint.subject, options, report, "validation", reading.EVALUATION)
    _tell_mixed([*learned, *([found] if found else [])], report)
    if found is not None and not config.as_it_is:
        if not promises:
            tell_seen(found.short, seen(found, learned), len(found.rows), report)
        _tell_many(found, learned, report)
    return found


def _tell_mixed(sources: Sequence[Source], report: Report) -> None:
    """Warn where one file holds single texts and another pairs: the model was trained for one of the two."""
    single, pairs = ([one.short for one in sources if len(one.rows[0].texts) == count] for count in (1, 2))
    if single and pairs:
        report.warn(
            f"{single[0]} holds single texts and {pairs[0]} pairs of texts, and a model is for one of the two; "
            "--text-column and --pair-column name the columns that hold them"
        )


def tell_seen(name: str, known: int, every: int, report: Report) -> None:
    """Warn of rows to judge by that the compressed model has learned: they show too small a loss."""
    if known:
        report.warn(
            f"{name}: {known:,} of {every:,} rows ({known / every:.1%}) are among the rows to learn from and "
            "show too small a loss; take them out of one of the files"
        )


def _tell_many(held_out: Source, learned: Sequence[Source], report: Report) -> None:
    """Warn of far more rows to judge by than there are to learn from: the two files may be exchanged."""
    every, most = len(held_out.rows), sum(len(source.rows) for source in learned)
    if every > MANY * most > 0:
        report.warn(
            f"{held_out.short}: {every:,} rows to score with, and {most:,} to learn from in {learned[0].short}; "
            "exchange the two if that is the wrong way round, or give fewer rows as --eval to save time"
        )


def _digest(features: Sequence[Features]) -> str:
    """A digest of all tokens and targets."""
    found = hashlib.sha256()
    for item in features:
        found.update(repr((item.ids, item.types, item.target)).encode())
    return found.hexdigest()


def _read(source: Source, config: CompressConfig, checkpoint: Checkpoint, report: Report) -> list[Features]:
    """Rows as they are learned from; how many of them are cut is told."""
    found = _encoded(source, config, checkpoint, report)
    cut = len({item.row for item in found if item.cut})
    if cut:
        length = _length(config, checkpoint)
        what, most = ("questions", "half a window") if checkpoint.task.windows else ("rows", f"{length} tokens")
        more = "the checkpoint takes no more" if length == checkpoint.max_length else "--max-length changes that"
        report.note(
            f"{source.short}: {cut:,} of {len(source.rows):,} {what} {'is' if cut == 1 else 'are'} longer than {most} "
            f"and {'is' if cut == 1 else 'are'} cut there to learn from; {more}"
        )
    return found


def _encoded(source: Source, config: CompressConfig, checkpoint: Checkpoint, report: Report) -> list[Features]:
    length = _length(config, checkpoint)
    return checkpoint.task.encode(source, checkpoint.subject, checkpoint.tokenizer, length, report)


def _length(config: CompressConfig, checkpoint: Checkpoint) -> int:
    """Tokens at which rows to learn from are cut."""
    return min(config.max_length or checkpoint.task.length, checkpoint.max_length)


def _more(source: Source, config: CompressConfig, checkpoint: Checkpoint, report: Report) -> Source:
    """Rows made of those to learn from, without labels; how many they are is told."""
    made = checkpoint.task.more(source, round(config.more_text * len(source.rows)), config.seed)
    report.note(
        f"{source.short}: {len(made.rows):,} more rows to learn from are made of it ({made.reading}), labelled by the "
        "dense model"
    )
    return made


def _sample(features: Sequence[Features], count: int, seed: int) -> list[Features]:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)).tolist()
    return [features[i] for i in order[:count]]
