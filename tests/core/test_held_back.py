"""The best state of a training by rows held back from it."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgb_core.artifact import open_artifact
from pgb_core.learn import held_back
from pgb_core.learn.aware import Aware
from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.learn.noise import BlockNoise, Noise, quantised
from pgb_core.learn.teacher import Teacher
from pgb_core.model.encoder import Encoder
from pgb_core.pipeline import compress
from pgb_core.run.inputs import _sample
from pgb_core.tasks.features import Features, collate
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings
from tests.core.test_training import LABEL, features
from tests.reports import Heard

SCHEDULE = Schedule(epochs=4, tokens=96, learning_rate=1e-2)
HELD = features(30)[24:]


def trainer(dense: Encoder, *regimes: object) -> Trainer:
    """Of a copy whose maps are disturbed, with six rows held back."""
    student = copy.deepcopy(dense)
    with torch.no_grad():
        for linear in student.sites().values():
            linear.bias.add_(0.3)
    learned = features(24)
    return Trainer(student, Teacher(dense, [*learned, *HELD]), learned, LABEL, SCHEDULE, regimes, HELD)  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [0.1, 3, 1000])
def test_rows_held_back_are_few_whole_and_drawn_by_the_seed(epochs: float) -> None:
    """No input is lost or in both parts; all windows of a row are on one side; what is made from rows is learned."""
    every = [Features([n, k], [0, 0], None, n) for n in range(4000) for k in (0, 1)]
    every += [Features([n], [0], None, -1 - n) for n in range(500)]
    learned, held = held_back.split(every, epochs, 0)
    assert {id(item) for item in (*learned, *held)} == {id(item) for item in every}
    assert not {item.row for item in learned} & {item.row for item in held}
    assert len({item.row for item in held}) == {0.1: 0, 3: 120, 1000: 200}[epochs]
    assert all(item.row >= 0 for item in held)
    assert held_back.split(every, epochs, 0) == (learned, held)
    assert not held or held_back.split(every, epochs, 1)[1] != held


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_held_back_are_not_the_calibration_rows(seed: int) -> None:
    """Of those no more than chance has are among the first that the same seed draws for scores and compensation."""
    every = [Features([n], [0], None, n) for n in range(4000)]
    _, held = held_back.split(every, 3.0, seed)
    drawn = {item.row for item in _sample(every, 1024, seed)}
    assert sum(item.row in drawn for item in held) < 0.5 * len(held)


def test_measuring_takes_a_small_part_of_the_training() -> None:
    """Passes forward in all measurements, each at twice the price, against three and a half passes of the training."""
    every = [Features([1] * (5 + n % 20), [0] * (5 + n % 20), None, n) for n in range(20_000)]
    _, held = held_back.split(every, 2.0, 0)
    tokens = sum(len(item.ids) for item in held)
    assert len(held) == 400
    assert 2 * held_back.TIMES * tokens <= 0.03 * 3.5 * 2.0 * sum(len(item.ids) for item in every)


def test_the_student_ends_in_the_state_with_the_lowest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the last one, and not in one that is as good and later."""
    losses = iter([3.0, 1.0, 2.0, 1.0, 4.0])
    seen: list[Tensor] = []
    training = trainer(small_encoder("bert", "classification"))

    def measured() -> float:
        seen.append(training.student.head.output.get_parameter("weight").detach().clone())
        return next(losses)

    monkeypatch.setattr(training, "_held_loss", measured)
    training.run()
    assert training.best is not None
    assert (training.best.loss, training.best.last, len(seen)) == (1.0, 4.0, held_back.TIMES)
    assert torch.equal(training.student.head.output.get_parameter("weight"), seen[1])
    assert not torch.equal(seen[1], seen[-1])


def test_what_was_measured_is_the_loss_of_the_state_that_is_kept() -> None:
    """And none that was measured was lower."""
    training = trainer(small_encoder("bert", "classification"))
    training.run()
    assert training.best is not None
    assert training.best.loss <= training.best.last
    assert training._held_loss() == pytest.approx(training.best.loss, rel=1e-5)


def test_a_training_taken_up_again_keeps_the_same_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the best state and before the last."""
    dense = small_encoder("bert", "classification")

    def judged(training: Trainer) -> Trainer:
        """Every state is worse than the one before."""
        monkeypatch.setattr(training, "_held_loss", lambda: float(training.step))
        return training

    straight = judged(trainer(dense))
    straight.run()
    first = judged(trainer(dense))
    first.run(straight.steps - 1)
    second = judged(trainer(dense))
    second.restore({name: value.contiguous().clone() for name, value in first.state().items()})
    second.run()
    assert second.best is not None
    assert straight.best is not None
    assert second.best.step == straight.best.step < straight.steps - 1
    for a, b in zip(second.student.parameters(), straight.student.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("kind", [Noise, BlockNoise, Aware])
def test_a_training_for_int8_is_measured_in_int8(
    kind: type[Noise | BlockNoise | Aware], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All weights are rounded while it is measured, and are afterwards what they were; each row counts as much."""
    monkeypatch.setattr(held_back, "TOKENS", 40)  # three rows, two and one
    dense = small_encoder("bert", "classification")
    plain = trainer(dense)
    arguments = {Noise: (0.5,), BlockNoise: (0.5, 8), Aware: (0.9,)}[kind]
    noisy = trainer(dense)
    noisy.regimes = [kind(noisy.student, *arguments)]
    before = copy.deepcopy(noisy.student.state_dict())
    state = dict(noisy.regimes[0].state())
    found = noisy._held_loss()
    assert found != plain._held_loss()
    assert all(torch.equal(value, before[name]) for name, value in noisy.student.state_dict().items())
    assert noisy.regimes[0].state().keys() == state.keys()
    if kind is not Aware:
        batch = collate(HELD, 0)
        with torch.no_grad(), quantised(list(noisy.student.sites().values())):
            logits = noisy.student(batch.input_ids, batch.attention_mask)
            goal = dense(batch.input_ids, batch.attention_mask)
        assert found == pytest.approx(float(LABEL.distil(logits, goal, batch.attention_mask.bool())), rel=1e-3)


@pytest.mark.parametrize("least", [1, 32])
def test_a_run_says_which_state_it_keeps(
    least: int, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that there are too few rows for it."""
    monkeypatch.setattr(held_back, "LEAST", least)
    told = Heard()
    model = checkpoint(tmp_path / "model", "bert", "classification")
    done = compress(settings(model, tmp_path / "small", texts, best_state=True), told)
    assert open_artifact(done.path).manifest.provenance["settings"]["best_state"] is True
    wanted = "best state: step" if least == 1 else "--best-state: fewer than 32 rows"
    assert sum(wanted in text for text in told.said) == 1
