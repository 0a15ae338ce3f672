"""Re-finetune a compressed encoder: from labels, by distillation from the dense model, or both.

Distillation matches the dense model's predictions (Hinton et al. 2015) and the hidden states of
every layer that is left (Jiao et al. 2020), needs no labels, and so runs on unlabelled text.
The order of rows depends only on (seed, epoch), so a run that is resumed at any step continues in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pgb_core.errors import DataError, TrainingError
from pgb_core.learn import held_back
from pgb_core.learn.batches import batch_of, grouped
from pgb_core.learn.held_back import Best
from pgb_core.learn.precision import mixed_precision
from pgb_core.learn.regime import Regime, Step
from pgb_core.learn.teacher import Teaching, traced
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch, Features

WARMUP = 0.1  # share of the steps
WEIGHT_DECAY = 0.01
CLIP = 1.0  # of the norm of all gradients


@dataclass(frozen=True)
class Schedule:
    """The length and rate of a re-finetuning. epochs: passes over the data; tokens: padded tokens a step;
    learning_rate: its peak, after a linear warm-up over `WARMUP` of the steps, then linear to zero. before: epochs of a
    training before this one; the rows go on where that ended.
    """

    epochs: float = 3.0
    tokens: int = 1024
    learning_rate: float = 2e-4
    labels: bool = True
    distill: bool = True
    seed: int = 0
    before: float = 0.0


def learning_rate(keep: float) -> float:
    """Default peak rate for a share of weights kept: 1e-4 for a dense model, more for a smaller one."""
    return 1e-4 / math.sqrt(keep)


class Trainer:
    """A re-finetuning that can be stopped after any step and taken up again.

    `student` is changed in place; `teacher` may be None without distillation. regimes: what a method adds. held: rows
    that are not learned from; where there are any, the student ends in the state whose loss on them is lowest.
    """

    def __init__(
        self,
        student: Encoder,
        teacher: Teaching | None,
        features: Sequence[Features],
        objective: Objective,
        schedule: Schedule,
        regimes: Sequence[Regime] = (),
        held: Sequence[Features] = (),
    ) -> None:
        self.student = student
        self.teacher = teacher if schedule.distill else None
        self.features = features
        self.objective = objective
        self.schedule = schedule
        self.regimes = regimes
        self.labels = schedule.labels and any(f.target is not None for f in features)
        if self.teacher is None and not (self.labels and all(f.target is not None for f in features)):
            raise DataError("re-finetuning needs labels or distillation; give labelled --train data or --distill")
        self.device = next(student.parameters()).device
        self.step = 0
        self._epoch: int | None = None
        self._groups: list[list[Features]] = []
        self.per_epoch = len(epoch_of(features, schedule.tokens, schedule.seed))
        self.steps = max(1, round(schedule.epochs * self.per_epoch))
        self._first = round(schedule.before * self.per_epoch)
        student.embeddings.requires_grad_(False)
        self.parameters = [p for p in student.parameters() if p.requires_grad]
        for parameter in self.parameters:  # the fused optimiser takes a restored state to lie as its parameter does
            parameter.data = parameter.data.contiguous()
        self._held = grouped(held, held_back.TOKENS)
        self._goals: list[Tensor] = []  # the teacher's logits of each group of them, once they were asked for
        self.best = Best(student, self.steps) if held else None
        self.optimizer = self._optimizer()
        self._peaks = [float(group["lr"]) for group in self.optimizer.param_groups]

    def run(self, until: int | None = None, progress: Callable[[int, float], None] = lambda step, loss: None) -> None:
        """Train up to step `until` (all by default); dropout stays off, the model ends in eval mode."""
        self.student.eval()
        threshold = self.steps if until is None else min(until, self.steps)
        while self.step < threshold:
            loss = self._update()
            self.step += 1
            if self.best is not None and self.step in self.best.steps:
                self.best.offer(self.step, self._held_loss())
            progress(self.step, float(loss.detach()))
        if self.best is not None and self.step == self.steps:
            self.best.put_back()

    def to_come(self) -> list[Features]:
        """The inputs of the steps that are left; all of them where these are an epoch or more."""
        if self.steps - self.step >= self.per_epoch:
            return list(self.features)
        return [item for step in range(self.step, self.steps) for item in self._group(step)]

    def state(self) -> dict[str, Tensor]:
        """Model, optimiser and step as flat tensors, for a safetensors file."""
        tensors = {f"model.{name}": value for name, value in self.student.state_dict().items()}
        for index, slot in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slot.items()}
        for number, regime in enumerate(self.regimes):
            tensors |= {f"regime.{number}.{name}": value for name, value in regime.state().items()}
        if self.best is not None:
            tensors |= {f"best.{name}": value for name, value in self.best.state().items()}
        return {**tensors, "step": torch.tensor(self.step)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        self.step = int(tensors["step"])
        self.student.load_state_dict(_under("model.", tensors))
        slots: dict[int, dict[str, Any]] = {}
        for name, value in _under("optimizer.", tensors).items():
            index, key = name.split(".")
            slots.setdefault(int(index), {})[key] = value.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})
        for number, regime in enumerate(self.regimes):
            kept = _under(f"regime.{number}.", tensors)
            regime.restore({name: value.clone() for name, value in kept.items()})
        if self.best is not None:
            self.best.restore(_under("best.", tensors))

    def _optimizer(self) -> torch.optim.AdamW:
        decayed = [p for p in self.parameters if p.dim() > 1]
        plain = [p for p in self.parameters if p.dim() <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": WEIGHT_DECAY},
            {"params": plain, "weight_decay": 0.0},
            *({"weight_decay": 0.0, **group} for regime in self.regimes for group in regime.groups()),
        ]
        return torch.optim.AdamW(groups, lr=self.schedule.learning_rate, fused=True)

    def _update(self) -> Tensor:
        """Learn from the inputs of this step; the loss on them before that."""
        group = self._group(self.step)
        batch = batch_of(group, self.student.config).to(self.device)
        pace = self._pace()
        for own, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            own["lr"] = peak * pace
        step = Step(self.step, self.steps, self.schedule.seed, self.schedule.learning_rate * pace)
        with ExitStack() as applied:
            for regime in self.regimes:
                applied.enter_context(regime.applied(step))
            with mixed_precision(self.device):
                loss = self._loss(group, batch)
            for penalty in (regime.penalty(step) for regime in self.regimes):
                loss = loss if penalty is None else loss + penalty
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"re-finetuning: the loss is {float(loss.detach())} at step {self.step}; lower the learning rate"
                )
            loss.backward()
        for regime in self.regimes:
            regime.graded(step)
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for regime in self.regimes:
            regime.stepped(step)
        return loss

    def _group(self, step: int) -> list[Features]:
        """The inputs of a step."""
        epoch, position = divmod(self._first + step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            # The number of batches of an epoch does not depend on its order: lengths are sorted first.
            self._groups = epoch_of(self.features, self.schedule.tokens, self.schedule.seed + 1000 * epoch)
        return self._groups[position]

    def _pace(self) -> float:
        warm = max(1, int(WARMUP * self.steps))
        if self.step < warm:
            return (self.step + 1) / warm
        return max(0.0, (self.steps - self.step) / max(1, self.steps - warm))

    @torch.no_grad()
    def _held_loss(self) -> float:
        """Mean over the rows held back: of the divergence from the teacher, or of the task's loss without one.

        The student computes as in the form that the regimes train it for, and in no fewer bits than that.
        """
        total, rows = 0.0, 0
        with ExitStack() as judged:
            for regime in self.regimes:
                judged.enter_context(regime.judged())
            for number, group in enumerate(self._held):
                batch = batch_of(group, self.student.config).to(self.device)
                mask = batch.attention_mask.bool()
                logits = self.student(batch.input_ids, batch.attention_mask, batch.token_type_ids).float()
                if self.teacher is not None:
                    if number == len(self._goals):
                        self._goals.append(self.teacher(group, batch)[0].float())
                    loss = self.objective.distil(logits, self._goals[number], mask)
                elif batch.targets is not None:
                    loss = self.objective.loss(logits, batch.targets, mask)
                total, rows = total + len(group) * float(loss), rows + len(group)
        return total / rows

    def _loss(self, group: Sequence[Features], batch: Batch) -> Tensor:
        logits, states = traced(self.student, batch)
        loss = logits.new_zeros((), dtype=torch.float32)
        mask = batch.attention_mask.bool()
        if self.labels and batch.targets is not None:
            loss = loss + self.objective.loss(logits.float(), batch.targets, mask)
        if self.teacher is not None:
            goal, goals = self.teacher(group, batch)
            loss = loss + self.objective.distil(logits.float(), goal.float(), mask)
            loss = loss + hidden_loss(states, goals, mask)
        return loss


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def epoch_of(features: Sequence[Features], tokens: int, seed: int) -> list[list[Features]]:
    """The inputs of each step of an epoch, at most `tokens` padded tokens each; their number does not depend on the
    seed. A step has labels for all of its inputs or for none.
    """
    labelled = [item for item in features if item.target is not None]
    if len(labelled) in (0, len(features)):
        return grouped(features, tokens, seed)
    groups = [*grouped(labelled, tokens, seed)]
    groups += grouped([item for item in features if item.target is None], tokens, seed)
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed)).tolist()
    return [groups[n] for n in order]


def counterparts(states: dict[int, Tensor], last: int) -> dict[int, int]:
    """For each layer left, the teacher's layer whose output it stands in for: the one before the next left."""
    left = sorted(states)
    if not left:
        return {}
    return dict(zip(left, [n - 1 for n in left[1:]] + [last], strict=True))


def hidden_loss(states: dict[int, Tensor], goals: dict[int, Tensor], real: Tensor) -> Tensor:
    """Mean over layers of the squared error of real tokens, relative to the teacher's mean square."""
    weight = real.unsqueeze(2).float()
    losses = []
    stands_for = counterparts(states, max(goals, default=0))
    for index, state in states.items():
        goal = goals[stands_for[index]].float()
        error = ((state.float() - goal).square() * weight).sum()
        losses.append(error / ((goal * weight).square().sum().clamp_min(1e-6)))
    return torch.stack(losses).mean() if losses else weight.new_zeros(())
