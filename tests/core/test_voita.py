"""Gates that training closes: their draws, their price, and a run from end to end."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.learn.hard_gates import HardGates
from pgb_core.learn.regime import Step
from pgb_core.learn.teacher import Teacher
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role
from pgb_core.search.hard_concrete import open_probability
from pgb_core.search.units import Sizes, highest
from tests.conftest import small_encoder
from tests.core.small import checkpoint, resumed, settings
from tests.core.test_training import LABEL, features

SIZES = Sizes(layers=4, heads=6, neurons=384, hidden=96, head_dim=16)


def trained(
    keep: float, epochs: float = 1.0, until: int | None = None, neurons: bool = True
) -> tuple[Trainer, HardGates]:
    """A small model, trained with gates up to a step."""
    dense = small_encoder("bert", "classification")
    student = copy.deepcopy(dense)
    gates = HardGates(student, SIZES, keep, penalty=0.1, rate=0.3, neurons=neurons)
    trainer = Trainer(
        student, Teacher(dense, features()), features(), LABEL, Schedule(epochs=epochs, tokens=64), [gates]
    )
    trainer.run(until)
    return trainer, gates


def test_gates_close_about_down_to_the_budget() -> None:
    """Before anything is cut; and more of them for a smaller one."""
    trainer, gates = trained(0.4, epochs=8)
    assert gates.open == pytest.approx(0.4, abs=0.1)
    assert not any(module._forward_pre_hooks for module in trainer.student.modules())
    for keep in (0.1, 0.25, 0.6):
        kept = highest(gates.scores, SIZES, keep * SIZES.total)
        assert SIZES.cost(kept) == pytest.approx(keep * SIZES.total, abs=SIZES.neuron)


def test_without_gates_on_neurons_none_of_them_goes() -> None:
    """Whatever the scores of the heads are."""
    gates = trained(0.8, neurons=False)[1]
    kept = highest(gates.scores, SIZES, 0.8 * SIZES.total)
    assert bool(kept.neurons.all())
    assert int(kept.heads.sum()) == round((0.8 - SIZES.without_heads) * SIZES.total / SIZES.head - 0.5)


def test_the_penalty_is_the_price_of_what_is_expected_to_be_open() -> None:
    """A neuron counts for as much of a head as it costs; its gradient closes gates."""
    gates = HardGates(small_encoder("bert", "classification"), SIZES, 0.5, penalty=0.2, rate=0.1, neurons=True)
    found = gates.penalty(Step(0, 10, 0, 1e-4))
    chance = float(open_probability(torch.tensor(2.0)))
    assert found.item() == pytest.approx(0.2 * chance * SIZES.total / SIZES.head, rel=1e-5)
    assert gates.open == pytest.approx(chance, rel=1e-5)
    found.backward()
    assert all((parameter.grad > 0).all() for group in gates.groups() for parameter in group["params"])


def test_training_with_gates_is_taken_up_again() -> None:
    """With the same draws, gates and price."""
    whole, straight = trained(0.5)
    assert float(straight.price) != pytest.approx(0.1)
    half, _ = trained(0.5, until=whole.steps // 2)
    rest, second = trained(0.5, until=0)
    rest.restore({name: value.clone() for name, value in half.state().items()})
    rest.run()
    assert torch.equal(second.price, straight.price)
    assert torch.equal(second.scores.heads, straight.scores.heads)
    assert torch.equal(second.scores.neurons, straight.scores.neurons)
    for a, b in zip(rest.student.parameters(), whole.student.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_with_heads_alone_is_resumed_and_its_artifact_answers(tmp_path: Path, texts: Path) -> None:
    """Gates, plan and re-finetuning are kept."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="voita", structure="heads", keep=0.75)
    artifact, heard = resumed(config)
    assert "taken over from a stopped run: finetuned, plan, shaped" in heard.notes
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.75, abs=0.01)
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    assert all(len(plan.layer(n)[Role.FFN_IN].rows) == 384 for n in range(4))
    answer = pgb_core.load(tmp_path / "small")("a very good film")
    assert sum(one["score"] for one in answer) == pytest.approx(1, abs=1e-3)


def test_heads_alone_go_down_to_the_last(tmp_path: Path, texts: Path) -> None:
    """Where that is as near to the budget as they come, no neuron goes for the rest."""
    small = {"num_hidden_layers": 2, "num_attention_heads": 24}
    model = checkpoint(tmp_path / "model", "bert", "classification", **small)
    done = compress(settings(model, tmp_path / "small", texts, method="voita", structure="heads", keep=0.665))
    plan = Plan.from_json(done.plan.read_text("utf-8"))
    assert sorted(len(plan.layer(n)[Role.VALUE].rows) for n in range(2)) == [0, 4]
    assert all(len(plan.layer(n)[Role.FFN_IN].rows) == 384 for n in range(2))


def test_without_epochs_there_is_nothing_to_learn_from() -> None:
    """It is refused with the settings."""
    with pytest.raises(ConfigError, match="epochs 0: voita needs training to choose what to keep; use more"):
        CompressConfig(checkpoint="c", out="o", train="t", method="voita", epochs=0.0)
