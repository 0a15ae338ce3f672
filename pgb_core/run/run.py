"""The stages of a run: scores, plan, compensation, re-finetuning, measurement; each done once and kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from pgb_core import __version__
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.inference.batches import run_all
from pgb_core.learn import fisher
from pgb_core.learn.compensate import compensate
from pgb_core.learn.finetune import Schedule, Trainer, learning_rate
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.plan import Keep, Plan, Site
from pgb_core.progress.report import Report
from pgb_core.run.inputs import Inputs, features_digest
from pgb_core.run.workspace import Workspace, key_of, to_device
from pgb_core.search import planning
from pgb_core.search.importance import importance
from pgb_core.tasks.features import Batch, batches

CALIBRATION_TOKENS = 2048
STAGES = 1  # raised when a stage comes out otherwise than before, so that kept ones are done again


@dataclass(frozen=True)
class Keys:
    """Digests of what each stage depends on: its own settings, and the stage before it."""

    scores: str
    plan: str
    compensated: str
    finetuned: str

    @classmethod
    def of(cls, config: CompressConfig, checkpoint: Checkpoint, inputs: Inputs) -> Keys:
        """A stage that is kept under another digest is of other settings or data."""
        model = (checkpoint.digest, checkpoint.architecture, checkpoint.problem_type, asdict(checkpoint.model.config))
        read = features_digest(inputs.calibration)
        scores = key_of(__version__, STAGES, *model, read, config.seed, config.from_predictions)
        plan = key_of(scores, config.grouping, config.passes, config.g_max, config.keep, config.budget)
        compensated = key_of(plan, config.ridge)
        learned = (config.epochs, config.tokens, config.learning_rate, config.distill, config.train is not None)
        return cls(scores, plan, compensated, key_of(compensated, features_digest(inputs.training), *learned))


@dataclass(frozen=True)
class Run:
    """One compression: what it was asked, what it reads, where it keeps its stages, who is told."""

    config: CompressConfig
    checkpoint: Checkpoint
    inputs: Inputs
    keys: Keys
    workspace: Workspace
    report: Report
    device: torch.device

    def take_over(self, kept: Mapping[str, object], settings: Mapping[str, object]) -> None:
        """Say which stages of a stopped run this one goes on from. Raises ConfigError when it was to be the same run.

        kept: what the run before said of itself; settings: what the next run is told of this one.
        """
        config, workspace, out = self.config, self.workspace, self.config.out
        stages = workspace.stages()
        if config.resume and kept and kept.get("digest") != self.keys.finetuned:
            raise ConfigError(
                f"{out}: the stopped run had other settings or data; leave --resume out to take over what fits of it"
            )
        if config.resume is False:
            workspace.clear()
        elif config.resume and not stages:
            self.report.note(f"{out}: nothing is kept of a stopped run; this one starts anew")
        elif stages:
            fits = [name for name in stages if workspace.size(name, getattr(self.keys, name, ""))]
            if fits:
                self.report.note(f"taken over from a stopped run: {', '.join(fits)}")
            if len(fits) < len(stages):
                left = ", ".join(name for name in stages if name not in fits)
                self.report.note(f"of other settings, and done again: {left}")
        workspace.save_run(settings)

    @property
    def bytes_needed(self) -> int:
        """What stages and artifact take on the disk, about, beside what is kept there already."""
        config, model = self.config, self.checkpoint.model
        encoder = sum(linear.in_features * linear.out_features for linear in model.sites().values())
        rest = sum(parameter.numel() for parameter in model.parameters()) - encoder
        small = rest + config.keep * encoder
        stages = encoder + small + (2 * (rest + 3 * config.keep * encoder) if config.epochs else 0)
        needed = int(4 * ((stages if config.keep < 1 else 0) + small * (2 if config.weights else 1)))
        return max(0, needed - sum(self.workspace.size(name, key) for name, key in asdict(self.keys).items()))

    def plan(self, dense: Encoder) -> Plan:
        """What of the dense model stays."""
        config, keys = self.config, self.keys
        head_dim = dense.config.head_dim
        if config.keep == 1:
            whole = {site: Keep((m.out_features, m.in_features)) for site, m in dense.sites().items()}
            return Plan(self.checkpoint.digest, head_dim, whole)
        text = self.workspace.text("plan", keys.plan)
        if text is not None:
            return Plan.from_json(text)
        importances = self._importances(dense)
        self.report.stage("Searching for groups", dense.config.layers)
        search = planning.Search(config.grouping, config.passes, config.g_max)
        found = planning.make_menus(importances, head_dim, search, lambda layer: self.report.advance())
        plan = planning.choose(found, config.keep, self.checkpoint.digest, head_dim, config.budget)
        self.workspace.save_text("plan", keys.plan, plan.to_json())
        return plan

    def _importances(self, dense: Encoder) -> dict[Site, Tensor]:
        saved = self.workspace.tensors("scores", self.keys.scores)
        if saved is not None:
            return {Site.parse(name): value for name, value in saved.items()}
        config, calibration = self.config, self.inputs.calibration
        self.report.stage("Scoring every weight", len(calibration))

        def counted() -> Iterator[Batch]:
            for batch in batches(calibration, CALIBRATION_TOKENS, dense.config.pad_id):
                yield batch
                self.report.advance(len(batch.features))

        objective = self.checkpoint.subject.objective
        summed = fisher.fisher(dense, counted(), objective, config.seed, config.from_predictions)
        sites = dense.sites()
        found = {site: importance(sites[site].to_dense().detach(), values).cpu() for site, values in summed.items()}
        self.workspace.save_tensors("scores", self.keys.scores, {str(site): value for site, value in found.items()})
        return found

    def compensate(self, dense: Encoder, compact: Encoder, plan: Plan) -> None:
        """Let what is left make up for what went, in place."""
        saved = self.workspace.tensors("compensated", self.keys.compensated)
        if saved is not None:
            compact.load_state_dict(to_device(saved, self.device))
            return
        self.report.stage("Compensating layer by layer", dense.config.layers)
        groups = list(batches(self.inputs.calibration, CALIBRATION_TOKENS, dense.config.pad_id))
        compensate(dense, compact, plan, groups, self.config.ridge, lambda layer: self.report.advance())
        self.workspace.save_tensors("compensated", self.keys.compensated, compact.state_dict())

    def finetune(self, dense: Encoder, compact: Encoder) -> None:
        """Re-finetune, in place, from the last step that is kept."""
        config = self.config
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
        trainer = Trainer(compact, dense, self.inputs.training, self.checkpoint.subject.objective, schedule)
        saved = self.workspace.tensors("finetuned", self.keys.finetuned)
        if saved is not None:
            trainer.restore(to_device(saved, trainer.device))
        self.report.stage("Re-finetuning", trainer.steps)
        self.report.advance(trainer.step)
        average = math.nan

        def told(step: int, loss: float) -> None:
            nonlocal average
            average = loss if math.isnan(average) else 0.98 * average + 0.02 * loss
            self.report.advance(1, f"loss {average:.3f}")

        while trainer.step < trainer.steps:
            trainer.run(trainer.step + config.checkpoint_every, told)
            self.workspace.save_tensors("finetuned", self.keys.finetuned, trainer.state())

    def measure(self, dense: Encoder, compact: Encoder) -> dict[str, object]:
        """Metrics of both models on the held-out rows, for the manifest."""
        held_out, report = self.inputs.held_out, self.report
        if held_out is None:
            return {}
        found: dict[str, object] = {}
        reasons: dict[str, object] = {}
        subject, tokenizer = self.checkpoint.subject, self.checkpoint.served_tokenizer
        for name, model in (("dense", dense), ("compressed", compact)):
            # A question may have several windows, and progress is told in windows.
            report.stage(f"Scoring the {name} model", None if subject.task.windows else len(held_out.rows))
            run = partial(run_all, torch_predictor(model), progress=report.advance)
            metrics = subject.task.score(held_out, subject, tokenizer, run)
            found[name] = metrics.rounded(6)
            if metrics.reasons:
                reasons[name] = metrics.reasons
            for metric, reason in metrics.reasons.items():
                report.warn(f"{metric} of the {name} model is not defined: {reason}")
        return {"accuracy": {**found, "rows": len(held_out.rows), **({"reasons": reasons} if reasons else {})}}
