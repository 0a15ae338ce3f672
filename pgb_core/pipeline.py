"""The method, from a checkpoint to an artifact."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from pgb_core import calibrate, export, planning, surgery
from pgb_core.artifact import Artifact, check_replaceable
from pgb_core.compensate import compensate
from pgb_core.config import CompressConfig
from pgb_core.data import Question, Row, TextRow, label_targets, read_rows
from pgb_core.encoders import Checkpoint, load_checkpoint
from pgb_core.errors import ConfigError, DataError, PGBError, ResourceError
from pgb_core.evaluate import Subject, check_labels, evaluate, torch_predictor
from pgb_core.features import Features, batches, encode_questions, encode_texts
from pgb_core.finetune import Schedule, Trainer, learning_rate
from pgb_core.functional.scores import importance
from pgb_core.nn.encoder import Encoder
from pgb_core.plan import GroupingPlan, Keep, Site
from pgb_core.workspace import Workspace, to_device

TRAINING_LENGTH = {"classification": 128, "qa": 192}
STRIDE = 64
CALIBRATION_TOKENS = 2048


class Report(Protocol):
    """Who is told how far the work is."""

    def begin(self, stages: Mapping[str, float]) -> None:
        """The stages to come, in order, with the work that each is expected to be; some may have been done before."""

    def stage(self, title: str, total: int | None = None) -> None:
        """A new stage begins; `total` units of work, if that is known."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """So much more is done."""


class Silent:
    """Tells nobody."""

    def begin(self, stages: Mapping[str, float]) -> None:
        """Nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """Nothing."""


@dataclass(frozen=True)
class Inputs:
    """Encoded data: for scores and compensation, and for re-finetuning."""

    calibration: list[Features]
    training: list[Features]

    @property
    def digest(self) -> str:
        """Of all tokens and targets."""
        found = hashlib.sha256()
        for features in (self.calibration, self.training):
            for item in features:
                found.update(repr((item.ids, item.types, item.target)).encode())
        return found.hexdigest()


def compress(config: CompressConfig, report: Report | None = None) -> Artifact:
    """Score, plan, cut, compensate, re-finetune, export. Raises PGBError.

    Every stage is kept in a workspace until the artifact stands; with `config.resume` a stopped
    run goes on from its last stage, or from the last saved step of its re-finetuning.
    """
    report = report or Silent()
    check_replaceable(config.out)
    device = pick_device(config.device)
    report.stage("Loading the checkpoint")
    checkpoint = load_checkpoint(config.checkpoint, config.task)
    inputs = prepare(config, checkpoint)
    held_out = read_rows(config.eval, checkpoint.task) if config.eval else []
    check_labels(held_out, subject_of(checkpoint))
    workspace = Workspace(config.out, f"{config.digest}:{checkpoint.digest}:{inputs.digest}", config.resume)
    dense = checkpoint.model.to(device)
    started = time.perf_counter()
    try:
        plan = _plan(config, checkpoint, dense, inputs, workspace, report)
        compact = surgery.apply_plan(dense.cpu(), plan).to(device).eval()
        dense.to(device)
        if config.keep < 1:
            _compensate(config, dense, compact, plan, inputs, workspace, report)
            _finetune(config, checkpoint, dense, compact, inputs, workspace, report)
        measured = _measure(checkpoint, dense, compact, held_out, report)
        measured["seconds"] = round(time.perf_counter() - started, 1)
        report.stage("Exporting and checking parity")
        done = export.write(
            config.out,
            checkpoint,
            compact.cpu(),
            plan,
            config.target,
            inputs.calibration or inputs.training,
            {"settings": _settings(config)},
            measured,
            max_length=checkpoint.model.config.max_length,
            weights=config.weights,
        )
    except PGBError:
        workspace.remove()
        raise
    workspace.remove()
    return done


def pick_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one. Raises ResourceError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device cuda: PyTorch sees no CUDA device here; use --device cpu")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def subject_of(checkpoint: Checkpoint) -> Subject:
    """What evaluation needs to know of a checkpoint."""
    config = checkpoint.model.config
    return Subject(checkpoint.task, checkpoint.labels, checkpoint.problem_type, config.max_length, config.pad_id)


def prepare(config: CompressConfig, checkpoint: Checkpoint) -> Inputs:
    """Read and encode the data that the config names. Raises DataError or ConfigError."""
    training = _encoded(config.train, config, checkpoint) if config.train else []
    if any(f.target is None for f in training):
        raise DataError(f"{config.train}: --train is for labelled rows, and some have no label; --calibrate needs none")
    calibration = _encoded(config.calibrate, config, checkpoint) if config.calibrate else training
    picked = _sample(calibration, config.samples, config.seed)
    if not training and not config.distill and config.epochs and config.keep < 1:
        raise ConfigError("--no-distill without --train: nothing to re-finetune with; give labels or --epochs 0")
    return Inputs(picked, training or calibration)


def _encoded(source: str, config: CompressConfig, checkpoint: Checkpoint) -> list[Features]:
    rows: list[Row] = read_rows(source, checkpoint.task, split="train")
    limit = checkpoint.model.config.max_length
    length = min(config.max_length or TRAINING_LENGTH[checkpoint.task], limit)
    if checkpoint.task == "qa":
        questions = [row for row in rows if isinstance(row, Question)]
        return encode_questions(questions, checkpoint.tokenizer, length, STRIDE)
    texts = [row for row in rows if isinstance(row, TextRow)]
    targets = label_targets(texts, checkpoint.labels, checkpoint.problem_type)
    return encode_texts(texts, targets, checkpoint.tokenizer, length)


def _sample(features: Sequence[Features], count: int, seed: int) -> list[Features]:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)).tolist()
    return [features[i] for i in order[:count]]


def _plan(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    inputs: Inputs,
    workspace: Workspace,
    report: Report,
) -> GroupingPlan:
    head_dim = dense.config.head_dim
    if config.keep == 1:
        sites = dense.sites()
        return GroupingPlan(
            checkpoint.digest, head_dim, {s: Keep((m.out_features, m.in_features)) for s, m in sites.items()}
        )
    text = workspace.text("plan.json")
    if text is not None:
        return GroupingPlan.from_json(text)
    importances = _importances(config, checkpoint, dense, inputs, workspace, report)
    report.stage("Searching for groups", dense.config.layers)
    search = planning.Search(config.grouping, config.passes, config.g_max)
    found = planning.make_menus(importances, head_dim, search, lambda layer: report.advance())
    plan = planning.choose(found, config.keep, checkpoint.digest, head_dim, config.budget)
    workspace.save_text("plan.json", plan.to_json())
    return plan


def _importances(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    inputs: Inputs,
    workspace: Workspace,
    report: Report,
) -> dict[Site, Tensor]:
    saved = workspace.tensors("scores")
    if saved is not None:
        return {Site.parse(name): value for name, value in saved.items()}
    report.stage("Scoring every weight", len(inputs.calibration))

    def counted() -> object:
        for batch in batches(inputs.calibration, CALIBRATION_TOKENS, dense.config.pad_id):
            yield batch
            report.advance(len(batch.features))

    fisher = calibrate.fisher(dense, counted(), checkpoint.problem_type, config.seed, config.from_predictions)  # type: ignore[arg-type]
    sites = dense.sites()
    found = {site: importance(sites[site].weight.detach(), values).cpu() for site, values in fisher.items()}
    workspace.save_tensors("scores", {str(site): value for site, value in found.items()})
    return found


def _compensate(
    config: CompressConfig,
    dense: Encoder,
    compact: Encoder,
    plan: GroupingPlan,
    inputs: Inputs,
    workspace: Workspace,
    report: Report,
) -> None:
    device = next(compact.parameters()).device
    saved = workspace.tensors("compensated")
    if saved is not None:
        compact.load_state_dict(to_device(saved, device))
        return
    report.stage("Compensating layer by layer", dense.config.layers)
    groups = list(batches(inputs.calibration, CALIBRATION_TOKENS, dense.config.pad_id))
    compensate(dense, compact, plan, groups, config.ridge, lambda layer: report.advance())
    workspace.save_tensors("compensated", compact.state_dict())


def _finetune(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    compact: Encoder,
    inputs: Inputs,
    workspace: Workspace,
    report: Report,
) -> None:
    if not config.epochs:
        return
    schedule = Schedule(
        epochs=config.epochs,
        tokens=config.tokens,
        learning_rate=config.learning_rate or learning_rate(config.keep),
        labels=config.train is not None,
        distill=config.distill,
        seed=config.seed,
    )
    trainer = Trainer(compact, dense, inputs.training, checkpoint.problem_type, schedule)
    saved = workspace.tensors("finetune")
    if saved is not None:
        trainer.restore(to_device(saved, trainer.device))
    report.stage("Re-finetuning", trainer.steps)
    report.advance(trainer.step)
    average = math.nan

    def told(step: int, loss: float) -> None:
        nonlocal average
        average = loss if math.isnan(average) else 0.98 * average + 0.02 * loss
        report.advance(1, f"loss {average:.3f}")

    while trainer.step < trainer.steps:
        trainer.run(trainer.step + config.checkpoint_every, told)
        workspace.save_tensors("finetune", trainer.state())


def _measure(
    checkpoint: Checkpoint, dense: Encoder, compact: Encoder, held_out: Sequence[Row], report: Report
) -> dict[str, object]:
    if not held_out:
        return {}
    found: dict[str, object] = {}
    for name, model in (("dense", dense), ("compressed", compact)):
        # A question may have several windows, and progress is told in windows.
        report.stage(f"Scoring the {name} model", None if checkpoint.task == "qa" else len(held_out))
        predict = torch_predictor(model)
        metrics = evaluate(predict, held_out, checkpoint.tokenizer, subject_of(checkpoint), report.advance)
        found[name] = {key: round(value, 6) for key, value in metrics.items()}
    return {"accuracy": {**found, "rows": len(held_out)}}


def _settings(config: CompressConfig) -> dict[str, object]:
    """What a reader needs to make the artifact again; paths by their last part only."""
    shown = asdict(config)
    for name in ("checkpoint", "train", "calibrate", "eval"):
        if shown[name]:
            shown[name] = str(shown[name]).rstrip("/").rpartition("/")[2]
    for name in ("out", "resume", "device"):
        del shown[name]
    return shown
