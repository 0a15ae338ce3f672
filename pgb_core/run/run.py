"""One run: its settings, its inputs, the place of its finished stages, and who hears of its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from pgb_core import __version__
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.config import CommonConfig, CompressConfig
from pgb_core.data import check_there
from pgb_core.data.words import plain
from pgb_core.errors import PlanError, ResourceError
from pgb_core.export.parity import Parity
from pgb_core.gate import load_checked
from pgb_core.learn.finetune import epoch_of
from pgb_core.learn.precision import fast_bf16
from pgb_core.learn.teacher import TOKENS, Teacher
from pgb_core.machine import free_memory
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.options import MethodOptions
from pgb_core.plan import Choice, Pattern, Plan, Site
from pgb_core.progress.report import Report
from pgb_core.run import reading
from pgb_core.run.inputs import Inputs, read_inputs
from pgb_core.run.judge import Judge
from pgb_core.run.records import Records
from pgb_core.run.shared import Shared
from pgb_core.run.vocabulary import Fitted, fitted
from pgb_core.run.workspace import Workspace, key_of, to_device

Options = TypeVar("Options", bound=MethodOptions)
_NOT_DESCRIBED = {"out", "resume", "force", "device", "threads", "cache", "options", "further"}
COPIES = 3  # of what is kept, in memory while it is written: in one piece, as bytes, and in a file system in memory
TEACHER_BYTES = 512 << 20  # of the dense model's outputs that outlive a run: a quarter of the cache
STAGES_VERSION = 5  # raised when a stage comes out otherwise than before, so that kept ones are done again


@dataclass(frozen=True)
class Stage:
    """Something that is done once and kept. digest: of everything that it depends on, the stage before it included."""

    name: str
    digest: str

    def then(self, name: str, *settings: object) -> Stage:
        """The stage after this one, with what else it depends on."""
        return Stage(name, key_of(self.digest, *settings))


@dataclass(frozen=True)
class Start:
    """The compressed model that a run begins with in place of the dense one.

    stage: that made it. make: gives it, in the dense model's coordinates. said: what it is, for the manifest.
    """

    stage: Stage
    make: Callable[[], Encoder]
    said: Mapping[str, object]


@dataclass(frozen=True)
class Run:
    """One compression.

    text_parity: how near the dense model is to transformers, from text. vocabulary: what is known of the tokens that
    were taken out, for the manifest. start: None where it begins with the dense model. Teacher, labels, metrics and
    checks are the dense model's anyway.
    """

    config: CompressConfig
    checkpoint: Checkpoint
    text_parity: Parity
    inputs: Inputs
    workspace: Workspace
    report: Report
    device: torch.device
    judge: Judge
    shared: Shared = field(default_factory=Shared)
    vocabulary: Mapping[str, object] = field(default_factory=dict)
    start: Start | None = None

    @classmethod
    def begin(cls, config: CompressConfig, report: Report, workspace: Workspace, shared: Shared) -> Run:
        """Read everything, and refuse what can be refused before the work begins. Raises PGBError."""
        device = pick_device(config.device)
        for source in (config.train, config.calibrate, config.eval, config.vocabulary_text):
            if source is not None:
                check_there(source)

        def loaded() -> tuple[Checkpoint, Parity]:
            report.stage("Loading the checkpoint and checking it against transformers")
            return load_checked(config.checkpoint, config.task, report)

        def read() -> Fitted:
            report.stage("Reading the data")
            inputs = read_inputs(config, checkpoint, report, shared.promises)
            if config.vocabulary == "used":  # by the tokens of rows that may choose, and not of those that confirm
                fit = fitted(config, checkpoint, inputs.judged(shared.judging), report)
                return replace(fit, inputs=replace(fit.inputs, held_out=inputs.held_out))
            return Fitted(checkpoint, parity, inputs)

        checkpoint, parity = shared.once(key_of("checkpoint", config.checkpoint, config.task), loaded)
        fit = shared.once(key_of("inputs", *_reading(config)), read)
        checkpoint, inputs = fit.checkpoint, fit.inputs.judged(shared.judging)
        judge = Judge(
            checkpoint=checkpoint,
            rows=inputs.held_out,
            some=inputs.some,
            dense=lambda: checkpoint.model.to(device),
            report=report,
            shared=shared,
            key=key_of("dense metrics", str(device), inputs.held_out_digest, *_reading(config)),
        )
        return cls(
            config, checkpoint, fit.text_parity, inputs, workspace, report, device, judge, shared, vocabulary=fit.facts
        )

    @cached_property
    def dense(self) -> Encoder:
        """The checkpoint's model, on the device of this run."""
        return self.checkpoint.model.to(self.device)

    @cached_property
    def records(self) -> Records:
        """What the stages measured."""
        return Records(self.workspace)

    @cached_property
    def meaning(self) -> str:
        """A digest of what the model's inputs and outputs mean, and of the rows that judge it.

        Artifacts and scores depend on it. Stages do not, so what was trained is kept where only a label has another
        name.
        """
        return key_of(self.checkpoint.meaning, self.inputs.held_out_digest)

    @property
    def silent(self) -> Run:
        """A copy that tells nobody, and scores no model between its stages: for what was done and told before."""
        return replace(self, report=Report(), judge=replace(self.judge, rows=None, some=None))

    @cached_property
    def source(self) -> Encoder:
        """The model that parts are taken from, on the device of this run: the one that it begins with."""
        return self.dense if self.start is None else self.start.make().to(self.device)

    @cached_property
    def teacher(self) -> Teacher:
        """What the dense model makes of the rows to learn from."""
        teacher = self.shared.teacher(self._teacher_key, self._made_teacher)
        self.records.add(self._teacher_key, room=teacher.most)
        return teacher

    @cached_property
    def _teacher_key(self) -> str:
        dense = replace(self, start=None)
        return dense.first("teacher", self.inputs.training_digest, TOKENS, *self._computed).digest

    @property
    def _computed(self) -> tuple[object, ...]:
        """What the last bits of a result depend on, besides the model and its inputs."""
        return str(self.device), fast_bf16(self.device), torch.get_num_threads()

    def _made_teacher(self) -> Teacher:
        room = self.records.of(self._teacher_key).get("room")  # of the stopped run, where there was one
        teacher = Teacher(self.dense, self.inputs.training, None if room is None else int(room))
        cache = self.shared.cache
        known = cache.tensors("teacher", self._teacher_key) if cache and self.config.distill else None
        if known is not None:
            self.report.note("outputs of the dense model: known from a run before")
            teacher.restore(to_device(known, self.device))
        return teacher

    def keep_teacher(self) -> None:
        """Keep what the dense model made of the rows for later runs: as much of it as the cache has room for, if there
        is memory to write it.

        What was kept before is replaced where more is known now, as after a longer training.
        """
        cache, config = self.shared.cache, self.config
        if cache is None or not (config.distill and config.trains) or config.as_it_is:
            return
        teacher, kept = self.shared.asked_teacher(self._teacher_key), cache.size("teacher", self._teacher_key)
        if teacher is None or teacher.kept <= kept:
            return
        room = free_memory()
        if room is not None and room < COPIES * min(teacher.kept, TEACHER_BYTES):  # the trained model comes first
            return
        known = teacher.state(TEACHER_BYTES)
        if sum(value.nbytes for value in known.values()) > kept:
            cache.save("teacher", self._teacher_key, known)

    @cached_property
    def per_epoch(self) -> int:
        """Steps of one pass over the rows to learn from; as many for any seed, and counted once for all runs."""
        training, tokens = self.inputs.training, self.config.tokens
        key = key_of("steps of an epoch", self.inputs.training_digest, tokens)
        return self.shared.once(key, lambda: max(1, len(epoch_of(training, tokens, 0))))

    @property
    def epochs(self) -> float:
        """Passes over the rows in re-finetuning, as given or of so many steps."""
        return self.config.epochs if self.config.steps is None else self.config.steps / self.per_epoch

    def options(self, kind: type[Options]) -> Options:
        """Those of the method, which are of this kind."""
        found = self.config.options
        if not isinstance(found, kind):
            raise TypeError(f"{kind.__name__} are asked for and {type(found).__name__} were given")
        return found

    def first(self, name: str, *settings: object) -> Stage:
        """A stage that depends on the model and on these settings."""
        c = self.checkpoint
        model = (c.key, c.architecture, c.problem_type, asdict(c.model.config))
        start = () if self.start is None else (self.start.stage.digest,)
        return Stage(name, key_of(__version__, STAGES_VERSION, *model, *start, *settings))

    def kept(self, stage: Stage, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The tensors of a stage, on this run's device: those that are kept, or those that are made now."""
        return self._kept(stage, lambda: self.records.timed(stage.digest, make))

    def lasting(self, stage: Stage, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """As `kept`, for a stage that other runs need as well: it outlives this one.

        What depends on a student does not: no other run has that.
        """
        cache, key = self.shared.cache if self.start is None else None, key_of(stage.digest, *self._computed)

        def found() -> Mapping[str, Tensor]:
            known = cache.tensors(stage.name, key) if cache else None
            if known is not None:
                self.report.note(f"{stage.name}: known from a run before")
                return known
            made = self.records.timed(stage.digest, make)
            if cache:
                cache.save(stage.name, key, made)
            return made

        return self._kept(stage, found)

    def _kept(self, stage: Stage, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        found = self.workspace.tensors(stage.name, stage.digest)
        if found is None:
            found = dict(make())
            self.workspace.save_tensors(stage.name, stage.digest, found)
        return to_device(found, self.device)

    def plan(self, choices: Mapping[Site, Choice], patterns: Mapping[int, Mapping[int, Pattern]] | None = None) -> Plan:
        """A plan for the dense model of this run. patterns: of the heads of each layer whose attention is fixed."""
        return Plan(self.checkpoint.digest, self.dense.config.head_dim, choices, patterns=patterns or {})

    def kept_plan(self, stage: Stage, make: Callable[[], Plan]) -> Plan:
        """The plan of a stage: that which is kept, or the one that is made now.

        Raises PlanError when it leaves no attention: such a model would answer alike, or nearly so, whatever it reads.
        """
        found = self.workspace.text(stage.name, stage.digest)
        if found is None:
            found = self.records.timed(stage.digest, lambda: make().to_json())
            self.workspace.save_text(stage.name, stage.digest, found)
        plan = Plan.from_json(found)
        if not plan.attends:
            raise PlanError(
                f"keep {self.config.keep:.1%} with --method {self.config.method} leaves no attention in any layer, so "
                "no token would see another one; use a larger --keep or another --method"
            )
        return plan

    def under_way(self, stages: Sequence[Stage]) -> bool:
        """Whether the last of these stages, of this run, has begun."""
        return self.workspace.size(stages[-1].name, stages[-1].digest) > 0

    def check_labels(self) -> dict[str, object]:
        """What the dense model makes of the labels, for the manifest. Raises DataError when they contradict it."""
        asked = (self.config.options.uses_labels, self.config.trust_labels)
        return self.shared.once(key_of("labels", *_reading(self.config), *asked), self._checked_labels)

    def _checked_labels(self) -> dict[str, object]:
        c, config, inputs = self.checkpoint, self.config, self.inputs
        predict = torch_predictor(self.dense)
        trial = reading.Trial(
            c.subject, c.served_tokenizer, predict, self.report, config.trust_labels, self.shared.promises, config.seed
        )
        learned = [rows for rows in (inputs.labelled, inputs.calibrating) if rows is not None and not config.as_it_is]
        if config.options.uses_labels or inputs.labelled is not None:
            for rows in learned[1:]:
                trial.check(rows, None)
        return trial.check(learned[0] if learned else None, inputs.held_out)

    def described(self) -> dict[str, object]:
        """What a reader needs to make the artifact again; paths by their last part only."""
        shown = self.config.model_dump(exclude=_NOT_DESCRIBED)
        shown["checkpoint"] = self.checkpoint.source
        for name in ("checkpoint", "train", "calibrate", "eval", "vocabulary_text"):
            if shown[name]:
                shown[name] = plain(str(shown[name]).rstrip("/").rpartition("/")[2])
        return {**shown, "epochs": round(self.epochs, 4), **self.config.options.model_dump()}


def _reading(config: CompressConfig) -> Sequence[object]:
    """All that decides what is read, and how."""
    left_out = {"forms", "threads", "cache", "device"}
    asked = config.model_dump(include=set(CommonConfig.model_fields) - left_out)
    return asked, config.seed, config.as_it_is, config.trains, config.more_text


def pick_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one. Raises ResourceError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device cuda: PyTorch sees no CUDA device here; use --device cpu")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")
