"""The method, from a checkpoint to an artifact."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from pgb_core import calibrate, export, planning, reading, surgery
from pgb_core.artifact import Artifact, check_replaceable
from pgb_core.compensate import compensate
from pgb_core.config import CompressConfig
from pgb_core.encoders import Checkpoint, load_checkpoint
from pgb_core.errors import ConfigError, PGBError, ResourceError
from pgb_core.evaluate import Subject, evaluate, torch_predictor
from pgb_core.features import Features, batches
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

    def stage(self, title: str, total: int | None = None) -> None:
        """A new stage begins; `total` units of work, if that is known."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """So much more is done."""

    def note(self, text: str) -> None:
        """A fact that was read, such as what a column holds."""

    def warn(self, text: str) -> None:
        """What may be wrong, though the work goes on."""


class Silent:
    """Tells nobody."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Nothing."""

    def advance(self, done: int = 1, note: str = "") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def warn(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Inputs:
    """Encoded data: for scores and compensation, and for re-finetuning; and the rows behind `--train`."""

    calibration: list[Features]
    training: list[Features]
    labelled: reading.Source | None = None

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
    inputs = prepare(config, checkpoint, report)
    held_out = _held_out(config, checkpoint, report)
    found = _check_labels(config, checkpoint, inputs, held_out, device, report)
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
        measured = {**found, **_measure(config, checkpoint, dense, compact, held_out, report)}
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


def prepare(config: CompressConfig, checkpoint: Checkpoint, report: Report | None = None) -> Inputs:
    """Read and encode the data that the config names. Raises DataError or ConfigError."""
    report, subject = report or Silent(), subject_of(checkpoint)
    labelled = config.train and reading.read(
        config.train, subject, reading.options_of(config), report, labelled="--train"
    )
    training = _encoded(labelled, config, checkpoint, report) if labelled else []
    calibration = training
    if config.calibrate:
        rows = reading.read(config.calibrate, subject, reading.options_of(config, unlabelled=True), report)
        calibration = _encoded(rows, config, checkpoint, report)
    picked = _sample(calibration, config.samples, config.seed)
    if not training and not config.distill and config.epochs and config.keep < 1:
        raise ConfigError("--no-distill without --train: nothing to re-finetune with; give labels or --epochs 0")
    return Inputs(picked, training or calibration, labelled or None)


def _encoded(source: reading.Source, config: CompressConfig, checkpoint: Checkpoint, report: Report) -> list[Features]:
    limit = checkpoint.model.config.max_length
    length = min(config.max_length or TRAINING_LENGTH[checkpoint.task], limit)
    return reading.encode(source, checkpoint.tokenizer, length, STRIDE, report)


def _held_out(config: CompressConfig, checkpoint: Checkpoint, report: Report) -> reading.Source | None:
    if not config.eval:
        return None
    options = reading.options_of(config)
    return reading.read(config.eval, subject_of(checkpoint), options, report, "validation", "evaluation")


def _check_labels(
    config: CompressConfig,
    checkpoint: Checkpoint,
    inputs: Inputs,
    held_out: reading.Source | None,
    device: torch.device,
    report: Report,
) -> dict[str, object]:
    predict = torch_predictor(checkpoint.model.to(device))
    subject, train = subject_of(checkpoint), inputs.labelled if config.keep < 1 else None
    return reading.check(
        subject, predict, checkpoint.tokenizer, train, held_out, report, config.trust_labels, config.seed
    )


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
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    compact: Encoder,
    held_out: reading.Source | None,
    report: Report,
) -> dict[str, object]:
    if held_out is None:
        return {}
    found: dict[str, object] = {}
    reasons: dict[str, object] = {}
    rows, subject = held_out.rows, subject_of(checkpoint)
    for name, model in (("dense", dense), ("compressed", compact)):
        report.stage(f"Scoring the {name} model")
        metrics = evaluate(torch_predictor(model), rows, checkpoint.tokenizer, subject, labels=config.labels)
        found[name] = metrics.rounded(6)
        if metrics.reasons:
            reasons[name] = metrics.reasons
        for metric, reason in metrics.reasons.items():
            report.warn(f"{metric} of the {name} model is not defined: {reason}")
    return {"accuracy": {**found, "rows": len(rows), **({"reasons": reasons} if reasons else {})}}


def _settings(config: CompressConfig) -> dict[str, object]:
    """What a reader needs to make the artifact again; paths by their last part only."""
    shown = asdict(config)
    for name in ("checkpoint", "train", "calibrate", "eval"):
        if shown[name]:
            shown[name] = str(shown[name]).rstrip("/").rpartition("/")[2]
    for name in ("out", "resume", "device"):
        del shown[name]
    return shown
