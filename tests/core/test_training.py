"""Scores, compensation and re-finetuning."""

import copy
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from pgb_core import tasks
from pgb_core.errors import DataError, TrainingError
from pgb_core.learn import fisher, precision
from pgb_core.learn import teacher as teaching
from pgb_core.learn.compensate import compensate
from pgb_core.learn.finetune import Schedule, Trainer, counterparts, hidden_loss
from pgb_core.learn.precision import fast_bf16
from pgb_core.learn.regime import Regime, Step
from pgb_core.learn.teacher import Teacher, reordered, traced
from pgb_core.model.blocks import attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan, ordered
from pgb_core.plan import Grouping, Site
from pgb_core.tasks.classification import MultiLabel
from pgb_core.tasks.features import Batch, Features, batches, collate, token_count
from tests.conftest import TASKS, small_encoder
from tests.core.planned import hand_plan, nested_plan, random_plan

OBJECTIVES = {name: task.objective(None, 2) for name, task in tasks.TASKS.items()}
LABEL = OBJECTIVES["classification"]
EVERY = torch.ones(1, 1, dtype=torch.bool)  # the mask of what has no tokens


def taught(model: Encoder, most: int = 1 << 30) -> Teacher:
    """A teacher of the inputs that `features` gives."""
    return Teacher(model, features(), most)


def features(count: int = 24, labels: int = 2, task: str = "classification") -> list[Features]:
    """Random inputs of mixed lengths with random targets."""
    g = torch.Generator().manual_seed(1)
    found = []
    for n in range(count):
        ids = torch.randint(5, 400, (6 + n % 11,), generator=g).tolist()
        target = (1, 3) if task == "qa" else n % labels
        found.append(Features(ids, [0] * len(ids), target, n))
    return found


@pytest.mark.parametrize("task", TASKS)
def test_fisher_equals_squared_gradients_of_single_samples(task: str) -> None:
    """The batched sum against one backward pass a sample."""
    model = small_encoder("bert", task)
    data = features(5, task=task)
    found = fisher.fisher(model, [collate(data, 0)], OBJECTIVES[task], 0, from_predictions=False)
    wanted = {site: torch.zeros_like(linear.weight) for site, linear in model.sites().items()}
    for feature in data:
        model.zero_grad()
        batch = collate([feature], 0)
        assert batch.targets is not None
        logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        OBJECTIVES[task].loss(logits, batch.targets, batch.attention_mask.bool(), "sum").backward()
        for site, linear in model.sites().items():
            assert linear.weight.grad is not None
            wanted[site] += linear.weight.grad.square()
    for site, value in found.items():
        torch.testing.assert_close(value, wanted[site], rtol=1e-3, atol=1e-8)


def test_scoring_leaves_the_model_as_it_was() -> None:
    """No gradient, no hook, no frozen parameter stays."""
    model = small_encoder("roberta", "classification")
    fisher.fisher(model, [collate(features(3), 1)], LABEL, 0, from_predictions=True)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_scores_from_predictions_do_not_see_the_labels() -> None:
    """They are those of the same rows without any."""
    model, batch = small_encoder("bert", "classification"), collate(features(6), 0)
    drawn, unlabelled, labelled = (
        fisher.fisher(model, [one], LABEL, 0, from_predictions=asked)
        for one, asked in ((batch, True), (replace(batch, targets=None), False), (batch, False))
    )
    assert all(torch.equal(value, unlabelled[site]) for site, value in drawn.items())
    assert any(not torch.equal(value, labelled[site]) for site, value in drawn.items())


def test_labels_drawn_from_predictions_follow_the_prediction() -> None:
    """A sure model draws its own answer; the seed decides the rest."""
    sure = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    g = torch.Generator().manual_seed(0)
    assert LABEL.draw(sure, EVERY, g).tolist() == [0, 1]
    even = torch.zeros(400, 2)
    drawn = LABEL.draw(even, EVERY, g).float().mean()
    assert 0.4 < float(drawn) < 0.6


def gap(dense: Encoder, compact: Encoder, data: list[Batch]) -> float:
    """Mean squared error of the last hidden state."""
    total = []
    for batch in data:
        x = y = dense.embeddings(batch.input_ids, None)
        mask = (batch.attention_mask[:, None, None, :].float() - 1) * 1e9
        for layer in dense.layers:
            x = layer(x, mask)
        for layer in compact.layers:
            y = layer(y, mask)
        total.append(float((x - y)[batch.attention_mask.bool()].square().mean()))
    return sum(total) / len(total)


@pytest.mark.parametrize("kind", ["shared", "disjoint", "hand", "nested"])
@torch.no_grad()
def test_compensation_brings_the_pruned_model_nearer(kind: str) -> None:
    """On the calibration data and on other data, for every structure, by far more than rounding."""
    dense = small_encoder("bert", "qa")
    hand = {"hand": hand_plan, "nested": nested_plan}
    plan = hand[kind](dense) if kind in hand else random_plan(dense, 0.3, kind)
    assert any(isinstance(choice, Grouping) and choice.groups for choice in plan.choices.values())
    compact = apply_plan(dense, plan)
    dense = ordered(dense, plan)
    seen, unseen = (list(batches(features(count, task="qa"), 200, 0)) for count in (90, 30))
    before = gap(dense, compact, seen), gap(dense, compact, unseen)
    compensate(dense, compact, plan, seen)
    after = gap(dense, compact, seen), gap(dense, compact, unseen)
    assert after[0] < 0.95 * before[0]
    assert after[1] < 0.95 * before[1]


def before_norms(model: Encoder, data: list[Batch]) -> dict[tuple[int, int], torch.Tensor]:
    """The stream as each norm reads it, of real tokens, by layer and half."""
    found: dict[tuple[int, int], list[torch.Tensor]] = {}
    for batch in data:
        x, mask = model.embeddings(batch.input_ids, batch.token_type_ids), attention_bias(batch.attention_mask)
        for layer in model.layers:
            for n, half in enumerate(layer.halves):
                added = half.added(x, mask)
                found.setdefault((layer.index, n), []).append(added[batch.attention_mask.bool()])
                x = half.norm(added)
    return {place: torch.cat(parts) for place, parts in found.items()}


@pytest.mark.parametrize("kind", ["shared", "hand", "nested"])
@torch.no_grad()
def test_after_compensation_the_stream_is_right_on_average(kind: str) -> None:
    """Behind every sublayer that is left: each makes up for what those before it err by, also a layer that is gone."""
    dense = small_encoder("bert", "qa")
    hand = {"hand": hand_plan, "nested": nested_plan}
    plan = hand[kind](dense) if kind in hand else random_plan(dense, 0.3, kind)
    compact, dense = apply_plan(dense, plan), ordered(dense, plan)
    data = list(batches(features(60, task="qa"), 200, 0))
    compensate(dense, compact, plan, data)
    wanted = before_norms(dense, data)
    for place, found in before_norms(compact, data).items():
        off = (found - wanted[place]).mean(0).abs().max()
        assert float(off) < 1e-3 * float(wanted[place].std()), place


@torch.no_grad()
def test_compensation_of_nothing_changes_nothing() -> None:
    """A plan that keeps everything is its own solution."""
    dense = small_encoder("bert", "classification")
    plan = random_plan(dense, 1.0, "disjoint")
    compact = apply_plan(dense, plan)
    batch = collate(features(20), 0)
    compensate(dense, compact, plan, [batch])
    inputs = batch.input_ids, batch.attention_mask, batch.token_type_ids
    torch.testing.assert_close(compact(*inputs), dense(*inputs), rtol=1e-3, atol=1e-3)


def test_training_lowers_the_loss_with_labels_and_by_distillation() -> None:
    """Each way alone."""
    dense = small_encoder("bert", "classification")
    for schedule in (
        Schedule(epochs=6, tokens=128, learning_rate=2e-3, distill=False),
        Schedule(epochs=6, tokens=128, learning_rate=2e-3, labels=False),
    ):
        compact = apply_plan(dense, random_plan(dense, 0.4, "shared"))
        seen: list[float] = []
        Trainer(compact, taught(dense), features(), LABEL, schedule).run(
            progress=lambda step, loss, seen=seen: seen.append(loss)
        )
        assert sum(seen[-3:]) < 0.8 * sum(seen[:3])


def test_without_labels_or_teacher_there_is_nothing_to_learn_from() -> None:
    """An error, not a silent no-op."""
    dense = small_encoder("bert", "classification")
    with pytest.raises(DataError, match="needs labels or distillation"):
        Trainer(dense, taught(dense), [Features([1], [0], None, 0)], LABEL, Schedule(distill=False))


def test_labels_of_rows_that_are_for_distillation_alone_do_not_count() -> None:
    """A student that equals its teacher has nothing to learn from them."""
    dense, seen = small_encoder("bert", "classification"), list[float]()
    schedule = Schedule(epochs=1, tokens=64, learning_rate=1e-12, labels=False)
    student = copy.deepcopy(dense)
    Trainer(student, taught(dense), features(), LABEL, schedule).run(progress=lambda step, loss: seen.append(loss))
    assert max(seen) < 0.01


def test_a_training_whose_loss_is_no_number_ends_with_the_remedy() -> None:
    """At that step, and the weights of the step before are left."""
    student = small_encoder("bert", "classification")
    trainer = Trainer(student, None, features(), LABEL, Schedule(epochs=2, tokens=96, distill=False))
    trainer.run(1)
    student.head.output.get_parameter("bias").data.fill_(math.nan)
    with pytest.raises(TrainingError, match="the loss is nan at step 1; lower the learning rate"):
        trainer.run()
    assert all(p.isfinite().all() for name, p in student.named_parameters() if name != "head.output.bias")


def test_a_trainer_restored_at_any_step_goes_on_the_same() -> None:
    """Weights, optimiser and order."""
    dense = small_encoder("bert", "classification")
    plan = random_plan(dense, 0.4, "shared")
    schedule = Schedule(epochs=3, tokens=96)
    straight = Trainer(apply_plan(dense, plan), taught(dense), features(), LABEL, schedule)
    straight.run()
    first = Trainer(apply_plan(dense, plan), taught(dense), features(), LABEL, schedule)
    first.run(straight.steps // 2)
    second = Trainer(apply_plan(dense, plan), taught(dense), features(), LABEL, schedule)
    second.restore({name: value.clone() for name, value in first.state().items()})
    second.run()
    assert second.step == straight.steps
    for a, b in zip(second.student.parameters(), straight.student.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_that_lie_transposed_are_restored_as_they_were() -> None:
    """The optimiser's state is restored row by row, and so must the weights lie."""
    dense = small_encoder("bert", "classification")
    schedule = Schedule(epochs=3, tokens=96)

    def turned() -> Encoder:
        student = copy.deepcopy(dense)
        weight = student.head.output.get_parameter("weight")
        weight.data = weight.data.T.contiguous().T
        assert not weight.is_contiguous()
        return student

    straight = Trainer(turned(), taught(dense), features(), LABEL, schedule)
    straight.run()
    first = Trainer(turned(), taught(dense), features(), LABEL, schedule)
    first.run(straight.steps // 2)
    second = Trainer(turned(), taught(dense), features(), LABEL, schedule)
    second.restore({name: value.contiguous().clone() for name, value in first.state().items()})  # as a file has them
    second.run()
    assert torch.equal(
        second.student.head.output.get_parameter("weight"), straight.student.head.output.get_parameter("weight")
    )


def test_a_training_goes_on_with_the_rows_where_the_one_before_ended() -> None:
    """Two trainings of a part of the epochs read what one of all of them reads."""
    model, read = small_encoder("bert", "classification"), features()

    def rows(schedule: Schedule) -> list[list[int]]:
        trainer, found = Trainer(copy.deepcopy(model), taught(model), read, LABEL, schedule), []
        for _ in range(trainer.steps):
            found.append([item.row for item in trainer._group(trainer.step)])
            trainer.step += 1
        return found

    first, second = Schedule(epochs=1.2, tokens=64), Schedule(epochs=1.8, tokens=64, before=1.2)
    assert rows(first) + rows(second) == rows(Schedule(epochs=3, tokens=64))


def test_many_labels_weigh_as_much_as_one() -> None:
    """A second label that agrees with the teacher changes nothing, and an equal model loses nothing."""
    many, mask = MultiLabel(), torch.ones(3, 1, dtype=torch.bool)
    logits, goal = torch.tensor([[0.3], [-2.0], [1.0]]), torch.tensor([[1.0], [-1.0], [0.0]])
    both, goals = (torch.cat([each, torch.full((3, 1), 0.7)], 1) for each in (logits, goal))
    assert float(many.distil(both, goals, mask)) == pytest.approx(float(many.distil(logits, goal, mask)), rel=1e-5)
    assert float(many.distil(logits, logits, mask)) == pytest.approx(0, abs=1e-6)
    one = many.loss(logits, torch.ones(3, 1), mask)
    assert float(many.loss(torch.cat([logits, logits], 1), torch.ones(3, 2), mask)) == pytest.approx(2 * float(one))
    assert float(many.loss(logits, torch.ones(3, 1), mask, "sum")) == pytest.approx(3 * float(one))


def test_distillation_losses_vanish_for_an_equal_model() -> None:
    """And grow away from it; padding does not count."""
    logits = torch.randn(3, 5, 2)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    spans = OBJECTIVES["qa"]
    assert float(spans.distil(logits, logits, ~padding)) == pytest.approx(0, abs=1e-6)
    other = logits.clone()
    other[0, 3:] += 7
    assert float(spans.distil(other, logits, ~padding)) == pytest.approx(0, abs=1e-6)
    other[1, 0] += 1
    assert float(spans.distil(other, logits, ~padding)) > 1e-3
    states = {0: torch.randn(3, 5, 4)}
    assert float(hidden_loss(states, states, ~padding)) == 0
    assert math.isclose(float(hidden_loss({0: 2 * states[0]}, states, ~padding)), 1.0, rel_tol=1e-5)


def test_a_layer_before_a_gap_stands_in_for_the_layers_that_went() -> None:
    """What is left at 0, 2 and 3 of 6 must give what the teacher gives after 1, 2 and 5."""
    assert counterparts(dict.fromkeys((0, 2, 3), torch.empty(0)), 5) == {0: 1, 2: 2, 3: 5}


def test_embeddings_stay_frozen() -> None:
    """They cost nothing at run time and would cost memory in training."""
    dense = small_encoder("bert", "classification")
    compact = apply_plan(dense, random_plan(dense, 0.5, "shared"))
    before = copy.deepcopy(compact.embeddings.state_dict())
    Trainer(compact, taught(dense), features(), LABEL, Schedule(epochs=1)).run()
    assert all(torch.equal(value, before[name]) for name, value in compact.embeddings.state_dict().items())
    assert Site(0, next(iter(compact.layers[0].maps()))) in compact.sites()


class Recorded(Regime):
    """Counts its calls, doubles a factor of its own by training, and adds a penalty on it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.factor = torch.nn.Parameter(torch.tensor(1.0))

    def groups(self) -> list[dict[str, Any]]:
        """See Regime."""
        return [{"params": [self.factor], "lr": 0.1, "maximize": True}]

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        self.calls.append("in")
        yield
        self.calls.append("out")

    def penalty(self, step: Step) -> torch.Tensor:
        """See Regime."""
        self.calls.append("penalty")
        return self.factor

    def graded(self, step: Step) -> None:
        """See Regime."""
        self.calls.append("graded")
        assert self.factor.grad is not None

    def stepped(self, step: Step) -> None:
        """See Regime."""
        self.calls.append(f"stepped {step.number} of {step.of}")

    def state(self) -> dict[str, torch.Tensor]:
        """See Regime."""
        return {"factor": self.factor.detach()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """See Regime."""
        self.factor.data.copy_(tensors["factor"])


def test_a_regime_has_its_say_at_every_step_and_is_taken_up_again() -> None:
    """Order of its calls; its own parameters are trained, kept and restored."""
    dense = small_encoder("bert", "classification")
    schedule = Schedule(epochs=2, tokens=96)
    straight, first, second = Recorded(), Recorded(), Recorded()
    whole = Trainer(copy.deepcopy(dense), taught(dense), features(), LABEL, schedule, [straight])
    whole.run()
    assert straight.calls[:5] == ["in", "penalty", "out", "graded", f"stepped 0 of {whole.steps}"]
    assert len(straight.calls) == 5 * whole.steps
    assert float(straight.factor.detach()) > 1
    half = Trainer(copy.deepcopy(dense), taught(dense), features(), LABEL, schedule, [first])
    half.run(whole.steps // 2)
    rest = Trainer(copy.deepcopy(dense), taught(dense), features(), LABEL, schedule, [second])
    rest.restore({name: value.clone() for name, value in half.state().items()})
    rest.run()
    assert torch.equal(second.factor, straight.factor)
    for a, b in zip(rest.student.parameters(), whole.student.parameters(), strict=True):
        assert torch.equal(a, b)


class Rates(Regime):
    """Remembers the rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def stepped(self, step: Step) -> None:
        """See Regime."""
        self.seen.append(step.rate)


def test_the_rate_rises_over_a_tenth_of_the_steps_and_falls_evenly_to_nothing() -> None:
    """For all parameters, of which only matrices decay."""
    schedule, rates = Schedule(epochs=8, tokens=96, learning_rate=1e-3, distill=False), Rates()
    done = Trainer(small_encoder("bert", "classification"), None, features(), LABEL, schedule, [rates])
    done.run()
    count, warm = done.steps, done.steps // 10
    assert warm > 1
    shares = [min((step + 1) / warm, (count - step) / (count - warm)) for step in range(count)]
    assert rates.seen == pytest.approx([1e-3 * share for share in shares])
    for group in done.optimizer.param_groups:
        assert group["lr"] == pytest.approx(rates.seen[-1])
        assert {group["weight_decay"]} == {0.01 if p.dim() > 1 else 0.0 for p in group["params"]}


@pytest.mark.usefixtures("float32")
def test_a_teacher_is_asked_once_and_says_the_same_again() -> None:
    """Logits as the model gives them, states within bfloat16, padding aside; kept within its room."""
    dense = small_encoder("bert", "classification")
    passes: list[int] = []
    dense.embeddings.register_forward_hook(lambda *_: passes.append(1))
    data = features()
    teacher, batch = Teacher(dense, data), collate(data[:6], 0)
    with torch.no_grad():
        logits, states = teacher(data[:6], batch)
        asked = len(passes)
        again, _ = teacher(data[:6], batch)
        wanted, goals = traced(dense, batch)
    assert len(passes) == asked + 1  # the last line's own
    assert torch.equal(logits, again)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    real = batch.attention_mask.bool().unsqueeze(2)
    for index, goal in goals.items():
        torch.testing.assert_close(states[index].float() * real, goal * real, rtol=1 / 128, atol=1e-2)
    assert teacher.kept > 0


def test_a_teacher_knows_what_it_has_to_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and in every epoch; and what it has computed so far."""
    monkeypatch.setattr(teaching, "TOKENS", 64)
    dense, data = small_encoder("bert", "classification"), features()
    full, none, every = Teacher(dense, data), Teacher(dense, data, 0), token_count(data)
    assert [(one.waiting, one.passing, one.asked) for one in (full, none)] == [(every, 0, 0), (0, every, 0)]
    with torch.no_grad():
        for one in (full, none):
            one(data[:2], collate(data[:2], 0))
    assert 0 < full.waiting == every - full.asked
    assert (none.waiting, none.passing, none.asked) == (0, every, token_count(data[:2]))


@pytest.mark.parametrize(("epochs", "before"), [(0.3, 0.0), (0.5, 0.9), (1.0, 0.0), (1.2, 0.0)])
def test_a_teacher_learns_before_the_training_what_its_steps_need(
    epochs: float, before: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step waits for the dense model, and a training waits for no rows but its own."""
    monkeypatch.setattr(teaching, "TOKENS", 32)
    dense, data = small_encoder("bert", "classification"), features()
    teacher = Teacher(dense, data)
    schedule = Schedule(epochs=epochs, before=before, tokens=32, labels=False)
    trainer = Trainer(small_encoder("bert", "classification"), teacher, data, LABEL, schedule)
    groups = teacher.missing(trainer.to_come())
    for group in groups:
        teacher.learn(group)
    asked = teacher.asked
    assert asked == sum(map(token_count, groups))
    assert (asked == token_count(data)) is (epochs >= 1)
    trainer.run(trainer.steps - 1)
    assert len(trainer.to_come()) < len(data) / 2
    assert not teacher.missing(trainer.to_come())
    trainer.run()
    assert teacher.asked == asked
    assert trainer.to_come() == []


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("task", TASKS)
def test_a_teacher_without_room_keeps_nothing_and_says_the_same(task: str) -> None:
    """The largest error is that of bfloat16; in an order of the stream the channels are exchanged."""
    dense = small_encoder("bert", task)
    data = features(task=task)
    full, none = Teacher(dense, data), Teacher(dense, data, 0)
    batch = collate(data[3:9], 0)
    with torch.no_grad():
        (logits, states), (others, plain) = full(data[3:9], batch), none(data[3:9], batch)
    assert none.kept == 0 < full.kept
    real = batch.attention_mask.bool().unsqueeze(2)
    mask = real if task == "qa" else 1
    torch.testing.assert_close(logits * mask, others * mask, rtol=1e-4, atol=1e-4)
    order = list(range(dense.config.hidden))[::-1]
    with torch.no_grad():
        _, turned = reordered(none, order)(data[3:9], batch)
    for index, state in plain.items():
        torch.testing.assert_close(states[index].float() * real, state * real, rtol=1 / 128, atol=1e-2)
        assert torch.equal(turned[index], state.flip(-1))


@pytest.mark.parametrize("faster", [False, True])
def test_a_teacher_computes_as_its_model_does_in_training(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, with matrices that were converted once; the model keeps its own."""
    monkeypatch.setattr(precision, "fast_bf16", lambda device: faster)
    dense, data = small_encoder("bert", "classification"), features()
    batch = collate(data[:6], 0)
    logits, states = Teacher(dense, data, 0)(data[:6], batch)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=faster):
        wanted, goals = traced(dense, batch)
    assert torch.equal(logits, wanted)
    assert logits.dtype == (torch.bfloat16 if faster else torch.float32)
    assert all(torch.equal(states[index], goal) for index, goal in goals.items())
    assert {parameter.dtype for parameter in dense.parameters()} == {torch.float32}


def test_a_teacher_has_a_share_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not more than a limit, and a least room where there is little, or where the system does not tell."""
    for free, wanted in ((18 << 30, 6 << 30), (99 << 30, 8 << 30), (1 << 30, 1 << 30), (None, 1 << 30)):
        monkeypatch.setattr(teaching, "free_memory", lambda free=free: free)
        assert teaching.room(torch.device("cpu")) == wanted


def test_bfloat16_is_used_where_pytorch_says_that_the_processor_has_it() -> None:
    """Asked of the processor itself, since PyTorch 2.6 does not say."""
    assert fast_bf16(torch.device("cpu")) == torch.cpu.get_capabilities()["avx512_bf16"]


@pytest.mark.skipif(not fast_bf16(torch.device("cpu")), reason="this processor has no instructions for bfloat16")
def test_bfloat16_is_not_used_where_its_instructions_are_forbidden() -> None:
    """A variable of oneDNN may forbid what the processor has."""
    told = "import torch; from pgb_core.learn.precision import fast_bf16; print(fast_bf16(torch.device('cpu')))"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    asked = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout == "False\n"


@pytest.mark.usefixtures("float32")
def test_a_teacher_takes_the_same_input_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that repeat may stand in batches with different ones."""
    monkeypatch.setattr(teaching, "TOKENS", 64)
    dense = small_encoder("bert", "classification")
    data = features(40)
    data += [replace(item, row=40 + n) for n, item in enumerate(data[::3])]
    teacher = Teacher(dense, data)
    with torch.no_grad():
        for group in (data[n : n + 5] for n in range(0, len(data), 5)):
            logits, _ = teacher(group, collate(group, 0))
            batch = collate(group, 0)
            wanted = dense(batch.input_ids, batch.attention_mask, batch.token_type_ids)
            torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
