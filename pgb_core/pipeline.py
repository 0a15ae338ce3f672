"""The method, from a checkpoint to an artifact."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from pgb_core import __version__, calibrate, effort, export, graph, output, planning, surgery
from pgb_core.artifact import Artifact, repair
from pgb_core.compensate import compensate
from pgb_core.config import CompressConfig
from pgb_core.data import Question, Row, TextRow, label_targets, read_rows
from pgb_core.encoders import Checkpoint, load_checkpoint
from pgb_core.errors import ConfigError, DataError, ResourceError
from pgb_core.evaluate import Subject, check_labels, evaluate, torch_predictor
from pgb_core.features import Features, batches, encode_questions, encode_texts
from pgb_core.finetune import Schedule, Trainer, learning_rate
from pgb_core.functional.scores import importance
from pgb_core.machine import usable_cores
from pgb_core.nn.encoder import Encoder
from pgb_core.parity import Parity, check_texts, inputs_of
from pgb_core.plan import GroupingPlan, Keep, Site
from pgb_core.session import open_session, predictor
from pgb_core.threads import threads
from pgb_core.workspace import Workspace, check_space, key_of, locked, to_device

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

    def note(self, text: str) -> None:
        """A fact that was read."""

    def warn(self, text: str) -> None:
        """A fact that a user would want to check."""


class Silent:
    """Tells nobody."""

    def begin(self, stages: Mapping[str, float]) -> None:
        """Nothing."""

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
    """Encoded data: for scores and compensation, and for re-finetuning."""

    calibration: list[Features]
    training: list[Features]


@dataclass(frozen=True)
class Keys:
    """Digests of what each stage depends on, its own settings and the stage before it."""

    scores: str
    plan: str
    compensated: str
    finetuned: str

    @classmethod
    def of(cls, config: CompressConfig, checkpoint: Checkpoint, inputs: Inputs) -> Keys:
        """A stage that is kept under another digest is of other settings or data."""
        read = features_digest(inputs.calibration)
        scores = key_of(__version__, checkpoint.digest, read, config.seed, config.from_predictions)
        plan = key_of(scores, config.grouping, config.passes, config.g_max, config.keep, config.budget)
        compensated = key_of(plan, config.ridge)
        learned = (config.epochs, config.tokens, config.learning_rate, config.distill, config.train is not None)
        return cls(scores, plan, compensated, key_of(compensated, features_digest(inputs.training), *learned))


def compress(config: CompressConfig, report: Report | None = None) -> Artifact:
    """Score, plan, cut, compensate, re-finetune, export. Raises PGBError.

    What can be refused is refused before the work begins: the output's place, the checkpoint's tokenizer and tables,
    labels, and the dense model's own graph. After that every stage is kept beside the output until the artifact
    stands, whatever happens; the next run with the same output takes over the stages that fit it.
    """
    report = report or Silent()
    output.check_place(config.out, config.checkpoint)
    device = pick_device(config.device)
    out = Path(config.out)
    with locked(out, report.warn) as workspace:
        mended = repair(out)
        if mended:
            report.warn(mended)
        kept = workspace.run()
        done = _already(config, kept)
        if done is not None:
            report.note(f"{out}: the stopped run had just written it")
            workspace.remove()
            return done
        before = output.standing(out)
        output.check_standing(out, before, config.force or (bool(config.resume) and kept.get("force") is True))
        with threads(config.threads or _threads_of(kept, config)) as used:
            return _compress(config, report, workspace, before, device, used)


def _compress(
    config: CompressConfig,
    report: Report,
    workspace: Workspace,
    before: output.Standing,
    device: torch.device,
    used: int,
) -> Artifact:
    report.stage("Loading the checkpoint")
    checkpoint = load_checkpoint(config.checkpoint, config.task, probed=True)
    for said in checkpoint.notes:
        report.note(said)
    for said in checkpoint.warnings:
        report.warn(said)
    inputs = prepare(config, checkpoint)
    held_out = read_rows(config.eval, checkpoint.task) if config.eval else []
    check_labels(held_out, subject_of(checkpoint))
    report.stage("Checking the dense model against transformers")
    parity = gate(checkpoint)
    keys = Keys.of(config, checkpoint, inputs)
    run = {"digest": keys.finetuned, "asked": config.digest, "force": config.force, "threads": used}
    _take_over(config, keys, run, workspace, report)
    report.begin(effort.stages(config, inputs.calibration, inputs.training, held_out))
    check_space(workspace.path, _bytes_needed(config, checkpoint.model))
    dense = checkpoint.model.to(device)
    started = time.perf_counter()
    plan = _plan(config, checkpoint, dense, inputs, keys, workspace, report)
    compact = surgery.apply_plan(dense.cpu(), plan).to(device).eval()
    dense.to(device)
    if config.keep < 1:
        _compensate(config, dense, compact, plan, inputs, keys, workspace, report)
        _finetune(config, checkpoint, dense, compact, inputs, keys, workspace, report)
    measured = _measure(checkpoint, dense, compact, held_out, report)
    measured["seconds"] = round(time.perf_counter() - started, 1)
    measured["text_parity"] = asdict(parity)
    report.stage("Exporting and checking parity")

    def ready(digest: str) -> None:
        output.check_unchanged(config.out, before)
        workspace.save_run({**run, "published": digest})

    done = export.write(
        config.out,
        checkpoint,
        compact.cpu(),
        plan,
        config.target,
        [*inputs_of(checkpoint.probes, checkpoint.reading, checkpoint.task), *(inputs.calibration or inputs.training)],
        {"settings": _settings(config)},
        measured,
        max_length=checkpoint.max_length,
        weights=config.weights,
        ready=ready,
    )
    workspace.remove()
    return done


def gate(checkpoint: Checkpoint) -> Parity:
    """From the probe texts to logits: transformers, our model, and its dense graph, by way of the artifact's tokenizer.

    Needs a checkpoint that was loaded with `probed`. Raises CheckpointError or ParityError naming the setting.
    """
    model, settings = checkpoint.model, checkpoint.settings
    features = inputs_of(checkpoint.probes, checkpoint.reading, checkpoint.task)
    check_texts(torch_predictor(model), checkpoint.probes, features, model.config.pad_id, settings)
    graph_predict = predictor(open_session(graph.channels_first(model).SerializeToString()))
    return check_texts(graph_predict, checkpoint.probes, features, model.config.pad_id, settings)


def _already(config: CompressConfig, kept: Mapping[str, Any]) -> Artifact | None:
    """The artifact of a run that ended after it was in place and before the run could say so."""
    if config.resume and kept.get("asked") == config.digest and kept.get("published"):
        return output.published(config.out, kept["published"])
    return None


def _threads_of(kept: Mapping[str, Any], config: CompressConfig) -> int | None:
    """As many threads as the stopped run had, if there are so many cores and its stages may be taken over."""
    found = kept.get("threads")
    fits = isinstance(found, int) and 0 < found <= usable_cores() and config.resume is not False
    return found if fits else None


def _take_over(
    config: CompressConfig, keys: Keys, run: Mapping[str, object], workspace: Workspace, report: Report
) -> None:
    """Say which stages of a stopped run this one goes on from. Raises ConfigError when it was to be the same run."""
    kept = workspace.run()
    stages = workspace.stages()
    if config.resume and kept and kept.get("digest") != keys.finetuned:
        raise ConfigError(
            f"{config.out}: the stopped run had other settings or data; leave --resume out to take over what fits of it"
        )
    if config.resume is False:
        workspace.clear()
    elif stages:
        fits = [name for name in stages if workspace.has(name, getattr(keys, name, ""))]
        if fits:
            report.note(f"taken over from a stopped run: {', '.join(fits)}")
        if len(fits) < len(stages):
            left = ", ".join(name for name in stages if name not in fits)
            report.note(f"of other settings, and done again: {left}")
    workspace.save_run(run)


def _bytes_needed(config: CompressConfig, model: Encoder) -> int:
    """What stages and artifact take on the disk, about."""
    encoder = sum(linear.weight.numel() for linear in model.sites().values())
    rest = sum(parameter.numel() for parameter in model.parameters()) - encoder
    small = rest + config.keep * encoder
    stages = encoder + small + (2 * (rest + 3 * config.keep * encoder) if config.epochs else 0)
    return int(4 * ((stages if config.keep < 1 else 0) + small * (2 if config.weights else 1)))


def features_digest(features: Sequence[Features]) -> str:
    """Of all tokens and targets."""
    found = hashlib.sha256()
    for item in features:
        found.update(repr((item.ids, item.types, item.target)).encode())
    return found.hexdigest()


def pick_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one. Raises ResourceError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device cuda: PyTorch sees no CUDA device here; use --device cpu")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def subject_of(checkpoint: Checkpoint) -> Subject:
    """What evaluation needs to know of a checkpoint."""
    config = checkpoint.model.config
    return Subject(
        checkpoint.task,
        checkpoint.labels,
        checkpoint.problem_type,
        checkpoint.max_length,
        config.pad_id,
        checkpoint.reading.side,
    )


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
    limit = checkpoint.max_length
    length = min(config.max_length or TRAINING_LENGTH[checkpoint.task], limit)
    if checkpoint.task == "qa":
        questions = [row for row in rows if isinstance(row, Question)]
        return encode_questions(questions, checkpoint.tokenizer, length, STRIDE)
    texts = [row for row in rows if isinstance(row, TextRow)]
    targets = label_targets(texts, checkpoint.labels, checkpoint.problem_type)
    return encode_texts(texts, targets, checkpoint.tokenizer, length, checkpoint.reading.side)


def _sample(features: Sequence[Features], count: int, seed: int) -> list[Features]:
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed)).tolist()
    return [features[i] for i in order[:count]]


def _plan(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    inputs: Inputs,
    keys: Keys,
    workspace: Workspace,
    report: Report,
) -> GroupingPlan:
    head_dim = dense.config.head_dim
    if config.keep == 1:
        sites = dense.sites()
        return GroupingPlan(
            checkpoint.digest, head_dim, {s: Keep((m.out_features, m.in_features)) for s, m in sites.items()}
        )
    text = workspace.text("plan", keys.plan)
    if text is not None:
        return GroupingPlan.from_json(text)
    importances = _importances(config, checkpoint, dense, inputs, keys, workspace, report)
    report.stage("Searching for groups", dense.config.layers)
    search = planning.Search(config.grouping, config.passes, config.g_max)
    found = planning.make_menus(importances, head_dim, search, lambda layer: report.advance())
    plan = planning.choose(found, config.keep, checkpoint.digest, head_dim, config.budget)
    workspace.save_text("plan", keys.plan, plan.to_json())
    return plan


def _importances(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    inputs: Inputs,
    keys: Keys,
    workspace: Workspace,
    report: Report,
) -> dict[Site, Tensor]:
    saved = workspace.tensors("scores", keys.scores)
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
    workspace.save_tensors("scores", keys.scores, {str(site): value for site, value in found.items()})
    return found


def _compensate(
    config: CompressConfig,
    dense: Encoder,
    compact: Encoder,
    plan: GroupingPlan,
    inputs: Inputs,
    keys: Keys,
    workspace: Workspace,
    report: Report,
) -> None:
    device = next(compact.parameters()).device
    saved = workspace.tensors("compensated", keys.compensated)
    if saved is not None:
        compact.load_state_dict(to_device(saved, device))
        return
    report.stage("Compensating layer by layer", dense.config.layers)
    groups = list(batches(inputs.calibration, CALIBRATION_TOKENS, dense.config.pad_id))
    compensate(dense, compact, plan, groups, config.ridge, lambda layer: report.advance())
    workspace.save_tensors("compensated", keys.compensated, compact.state_dict())


def _finetune(
    config: CompressConfig,
    checkpoint: Checkpoint,
    dense: Encoder,
    compact: Encoder,
    inputs: Inputs,
    keys: Keys,
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
    saved = workspace.tensors("finetuned", keys.finetuned)
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
        workspace.save_tensors("finetuned", keys.finetuned, trainer.state())


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
    for name in ("out", "resume", "force", "device", "threads"):
        del shown[name]
    return shown
