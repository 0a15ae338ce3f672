"""FLOP: factors, gates on their directions, the budget, from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.learn.rank_gates import RankGates
from pgb_core.learn.regime import Step
from pgb_core.methods import METHODS
from pgb_core.model.surgery import factorise
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.plan.kinds import LowRank
from pgb_core.progress.report import Report
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import locked
from pgb_core.search.hard_concrete import open_probability, sampled
from pgb_core.search.ranks import cost_of, kept_directions
from pgb_core.tasks import TASKS
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings
from tests.core.test_numbers import inputs, logits

SHAPES = {Site(0, Role.QUERY): (40, 40), Site(0, Role.FFN_IN): (160, 40), Site(0, Role.FFN_OUT): (40, 160)}


@pytest.mark.parametrize("keep", [0.05, 0.1, 0.3, 0.5, 0.8, 0.95, 1.0])
def test_the_best_directions_stay_within_the_budget(keep: float) -> None:
    """One more would not fit, no better one went, and a matrix that would save nothing keeps all of them."""
    g = torch.Generator().manual_seed(0)
    scores = {site: (torch.randn(40, generator=g), torch.zeros(40)) for site in SHAPES}
    dense = sum(out * into for out, into in SHAPES.values())
    found = kept_directions(scores, SHAPES, keep * dense)
    cost = sum(cost_of(SHAPES[site], len(index)) for site, index in found.items())
    left = keep * dense - cost
    assert left >= 0
    assert left < max(map(sum, SHAPES.values()))
    assert all(len(index) >= 1 for index in found.values())
    low = {site for site, index in found.items() if len(index) < 40}
    worst = min((float(scores[site][0][found[site]].min()) for site in low if len(found[site]) > 1), default=-9.0)
    for site in low:
        gone = torch.ones(40, dtype=torch.bool)
        gone[found[site]] = False
        assert float(scores[site][0][gone].max()) <= worst
        assert cost_of(SHAPES[site], len(found[site])) == len(found[site]) * sum(SHAPES[site])


def test_equal_scores_are_told_apart_by_the_second() -> None:
    """And a budget for nothing leaves each matrix its best direction."""
    scores = {site: (torch.ones(40), torch.arange(40.0).roll(7)) for site in SHAPES}
    found = kept_directions(scores, SHAPES, 0.0)
    assert [index.tolist() for index in found.values()] == [[6]] * 3


def test_factors_compute_the_same() -> None:
    """Of every map of the layers, and of no other."""
    model = small_encoder("bert", "classification")
    before, sites = logits(model), set(model.sites())
    maps = factorise(model)
    assert all(p.is_contiguous() for p in model.parameters())
    assert set(maps) == sites == set(model.sites())
    torch.testing.assert_close(logits(model), before, rtol=1e-4, atol=1e-5)


def test_gates_have_the_gradients_of_a_diagonal_between_the_factors() -> None:
    """Against autograd through P diag(z) Q, with the same draw; the factors' own gradients too."""
    model = small_encoder("bert", "classification", num_hidden_layers=1)
    maps = factorise(model)
    gates = RankGates(maps, 0.5, 0.1)
    step = Step(5, 10, 3, 1e-4)
    with gates.applied(step):
        logits(model).square().sum().backward()
    gates.graded(step)
    site = Site(0, Role.QUERY)
    got = gates.log_alpha[site].grad, maps[site].down.grad, maps[site].up.grad
    generator = torch.Generator().manual_seed(step.draw)
    drawn = {one: torch.rand(len(maps[one].down), generator=generator) for one in maps}
    alphas = {one: torch.full_like(u, 2.2).requires_grad_() for one, u in drawn.items()}
    downs = {one: maps[one].down.detach().clone().requires_grad_() for one in maps}
    ups = {one: maps[one].up.detach().clone().requires_grad_() for one in maps}
    parameters = {}
    names = {id(module): name for name, module in model.named_modules()}
    for one, linear in maps.items():
        z = sampled(alphas[one], drawn[one], 1.0)
        parameters[f"{names[id(linear)]}.down"] = downs[one] * z.unsqueeze(1)
        parameters[f"{names[id(linear)]}.up"] = ups[one]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> torch.Tensor:
            return logits(self.model)

    out = torch.func.functional_call(Logits(), {f"model.{name}": value for name, value in parameters.items()})
    out.square().sum().backward()
    for mine, wanted in zip(got, (alphas[site].grad, downs[site].grad, ups[site].grad), strict=True):
        assert mine is not None
        assert wanted is not None
        torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-5)


def test_the_expected_size_is_that_of_many_draws() -> None:
    """And the target falls from it to the share that is asked for."""
    gates = RankGates(factorise(small_encoder("bert", "classification", num_hidden_layers=1)), 0.3, 0.1)
    alpha = torch.linspace(-4, 4, 9)
    g = torch.Generator().manual_seed(0)
    drawn = (sampled(alpha.expand(40_000, 9), torch.rand(40_000, 9, generator=g), 1.0) > 0).float().mean(0)
    torch.testing.assert_close(open_probability(alpha, 1.0), drawn, rtol=0, atol=0.01)
    for alphas in gates.log_alpha.values():
        alphas.data.fill_(100.0)
    assert float(gates.size.detach()) == pytest.approx((4 * 192 * 96 + 2 * 480 * 96) / (12 * 96 * 96))
    assert [round(gates.target(Step(n, 10, 0, 0.0)), 3) for n in (7, 9)] == [0.3, 0.3]
    assert gates.target(Step(0, 10, 0, 0.0)) > gates.target(Step(3, 10, 0, 0.0)) > 0.3


def test_multipliers_rise_until_the_budget_is_met() -> None:
    """In one short training, from all open to the target."""
    model = small_encoder("bert", "classification", num_hidden_layers=1)
    gates = RankGates(factorise(model), 0.3, 0.5)
    objective = TASKS["classification"].objective(None, 2)
    before = float(gates.size.detach())
    schedule = Schedule(epochs=15, tokens=128, distill=False)
    Trainer(model, None, inputs(24), objective, schedule, [gates]).run()
    assert before > 1.3
    assert float(gates.size.detach()) == pytest.approx(0.3, abs=0.15)
    assert float(gates.state()["multipliers"][1]) > 0


def test_without_training_the_largest_directions_stay_as_they_are(tmp_path: Path, texts: Path) -> None:
    """Gates that never moved scale nothing."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    config = settings(model, tmp_path / "small", texts, method="flop", keep=0.7, epochs=0.0)
    with locked(Path(config.out)) as workspace:
        run = Run.begin(config, Report(), workspace, Shared())
        found = METHODS["flop"].compress(run)
    ranks = 0
    for site, linear in found.model.sites().items():
        dense, choice = run.dense.sites()[site].to_dense().detach(), found.plan.choices[site]
        if isinstance(choice, LowRank):
            ranks += 1
            u, sizes, v = torch.linalg.svd(dense)
            dense = u[:, : choice.rank] * sizes[: choice.rank] @ v[: choice.rank]
        torch.testing.assert_close(linear.to_dense().detach(), dense, rtol=1e-3, atol=1e-5)
    assert ranks


@pytest.mark.parametrize(("keep", "budget"), [(0.2, "weights"), (0.6, "flops")])
def test_a_run_is_resumed_and_gives_an_artifact(
    keep: float, budget: str, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped while its ranks were looked for gives the same graph."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    common: dict[str, object] = {"method": "flop", "keep": keep, "budget": budget, "threads": 1, "epochs": 3.0}
    if budget == "weights":
        compress(settings(model, tmp_path / "once", texts, **common))
        until_then = Trainer.run

        def stopped(trainer: Trainer, until: int | None = None, progress: Callable[[int, float], None] = print) -> None:
            if until != 3:
                raise KeyboardInterrupt
            until_then(trainer, until, progress)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "run", stopped)
            with pytest.raises(KeyboardInterrupt):
                compress(settings(model, tmp_path / "small", texts, **common))
    notes: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "note", notes.append)
    compress(settings(model, tmp_path / "small", texts, **common), told)
    artifact = open_artifact(tmp_path / "small")
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    if budget == "weights":
        assert "taken over from a stopped run: shaped" in notes
        graphs = [onnx.load(open_artifact(tmp_path / name).graph("fp32")) for name in ("once", "small")]
        assert graphs[0].graph.initializer == graphs[1].graph.initializer
        assert plan.cost / plan.dense_cost == pytest.approx(keep, abs=0.01)
    else:
        assert flops(plan, 128) / flops(plan, 128, dense=True) == pytest.approx(keep, abs=0.01)
    assert any(isinstance(choice, LowRank) for choice in plan.choices.values())
    assert any("became two products each" in note for note in notes)
    assert pgb_core.load(str(tmp_path / "small"))("a very good film")


def test_too_small_a_share_is_told(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every matrix keeps a direction; more than that is not promised."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=1)
    warnings: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "warn", warnings.append)
    compress(
        settings(model, tmp_path / "small", texts, method="flop", keep=0.01, budget="flops", epochs=0.5, threads=1),
        told,
    )
    assert any("every matrix keeps one direction at least" in warning for warning in warnings)
