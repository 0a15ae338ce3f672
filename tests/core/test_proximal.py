"""Reweighted proximal pruning: its step, the strength that meets the budget, from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.learn.proximal import EPSILON, Proximal, shrunk
from pgb_core.learn.regime import Step
from pgb_core.methods.magnitude import keep_weights
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site
from pgb_core.progress.report import Report
from pgb_core.search.units import choices, fitting, mean_squares
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings
from tests.core.trained import assert_resumed_the_same, trained


def test_the_step_minimises_distance_and_penalty() -> None:
    """Against every value of a fine grid."""
    sizes, before = torch.rand(2, 40).double()
    grid = torch.linspace(0, 1.2, 120_001, dtype=torch.float64)
    for strength in (0.0, 0.02, 0.3):
        found = shrunk(sizes, before, strength)
        for size, old, x in zip(sizes, before, found, strict=True):
            objective = (grid - size).square() / 2 + strength * grid / (old + EPSILON)
            assert float(x) == pytest.approx(float(grid[objective.argmin()]), abs=2e-5)


def test_the_step_of_a_head_minimises_the_penalty_on_its_norm() -> None:
    """No change of a head's weights does better; so heads shrink as wholes, and weights keep their directions."""
    model = small_encoder("bert", "classification").double()
    regime = Proximal(model, True, 0.5, 0)
    maps, head = model.layers[1].maps(), slice(16, 32)

    def weights() -> torch.Tensor:
        rows = [maps[role].get_parameter("weight")[head] for role in (Role.QUERY, Role.KEY, Role.VALUE)]
        return torch.cat([*rows, maps[Role.ATTENTION_OUTPUT].get_parameter("weight")[:, head].T]).detach().clone()

    start, step = weights(), Step(50, 100, 0, 1e-3)
    regime.stepped(step)
    end = weights()
    strength = step.rate * float(regime.state()["strength"])
    root = start.numel() ** 0.5
    old = float(start.norm()) / root
    assert 0 < float(end.norm()) < float(start.norm())

    def objective(x: torch.Tensor) -> float:
        return float((x - start).square().sum() / 2 + strength * root * x.norm() / (old + EPSILON))

    least = objective(end)
    for scale in (1e-4, 1e-2):
        for _ in range(20):
            assert objective(end + scale * torch.randn_like(end)) > least
        assert objective(end * (1 + scale)) > least
        assert objective(end * (1 - scale)) > least


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("whole", [True, False])
def test_what_the_budget_has_no_place_for_is_0_at_the_end(whole: bool, keep: float) -> None:
    """The strength is found for it; what the plan keeps is what is not 0."""
    done = trained(lambda model: Proximal(model, whole, keep, 0))
    regime = done.regimes[0]
    assert isinstance(regime, Proximal)
    assert regime.zeros() == pytest.approx(1 - keep, abs=0.03)
    weights = {site: linear.to_dense().detach() for site, linear in done.student.sites().items()}
    sizes = done.student.config.sizes()
    units = fitting(mean_squares(weights, sizes.head_dim), sizes, keep)
    plan = Plan("test", sizes.head_dim, choices(units, sizes) if whole else keep_weights(weights, keep))
    assert plan.cost / plan.dense_cost == pytest.approx(keep, abs=0.01)


def test_large_weights_hardly_move() -> None:
    """The penalty of a weight falls with what it was: the largest tenth keeps far more of itself than the rest."""
    model = small_encoder("bert", "classification")
    weight = model.sites()[Site(0, Role.QUERY)].get_parameter("weight")
    before = weight.detach().abs()
    regime = Proximal(model, False, 0.5, 0)
    for number in range(10, 100):
        regime.stepped(Step(number, 100, 0, 1e-3 * (100 - number) / 90))
    left = (weight.detach().abs() / before.clamp_min(1e-12)).flatten()
    order = before.flatten().argsort(descending=True)
    tenth = len(order) // 10
    assert float(left[order[:tenth]].min()) > 0.85
    assert float(left[order[-3 * tenth :]].max()) == 0


@pytest.mark.parametrize("whole", [True, False])
def test_rounds_are_resumed(whole: bool) -> None:
    """With their strength and the sizes at their start."""
    assert_resumed_the_same(lambda model: Proximal(model, whole, 0.3, 0))


def test_a_run_gives_an_artifact(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the budget; the run says how much was 0; the model answers."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    notes: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "note", notes.append)
    compress(settings(model, tmp_path / "small", texts, method="proximal"), told)
    assert [note for note in notes if note.endswith("were 0 at the end of training; the largest 40.0% stay")]
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.4, abs=0.01)
    with pgb_core.load(tmp_path / "small", "fp32", threads=1) as loaded:
        assert sum(found["score"] for found in loaded("the film was very good", top_k=2)) == pytest.approx(1)
