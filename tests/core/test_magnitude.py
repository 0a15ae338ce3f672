"""Pruning by size: what is kept, within the budget, from end to end."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError, PlanError
from pgb_core.methods import steps
from pgb_core.methods.magnitude import keep_weights
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.progress.report import Report
from pgb_core.search.units import largest, units
from tests.core.small import checkpoint, settings

HIDDEN, NEURONS, HEAD = 48, 96, 8
SHAPES = dict.fromkeys(Role, (HIDDEN, HIDDEN)) | {Role.FFN_IN: (NEURONS, HIDDEN), Role.FFN_OUT: (HIDDEN, NEURONS)}


def weights(layers: int = 2) -> dict[Site, torch.Tensor]:
    """Random matrices of a small encoder."""
    return {Site(n, role): torch.randn(shape) for n in range(layers) for role, shape in SHAPES.items()}


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_the_largest_units_stay(keep: float) -> None:
    """What went would not have fitted beside the larger ones that are kept, and the budget is met."""
    given = weights()
    given[Site(1, Role.FFN_IN)][7] *= 30
    given[Site(0, Role.VALUE)][:HEAD] *= 30
    plan = Plan("x", HEAD, largest(given, HEAD, keep)[0])
    assert plan.cost / plan.dense_cost == pytest.approx(keep, abs=0.01)
    heads = {(n, Role.VALUE, row // HEAD) for n in range(2) for row in plan.choices[Site(n, Role.VALUE)].rows}
    kept = heads | {(n, Role.FFN_IN, row) for n in range(2) for row in plan.choices[Site(n, Role.FFN_IN)].rows}
    assert {(1, Role.FFN_IN, 7), (0, Role.VALUE, 0)} <= kept
    every = list(units(given, HEAD, 0))
    assert sum(unit.cost for unit in every) == plan.dense_cost
    for gone in (unit for unit in every if (unit.layer, unit.kind, unit.index) not in kept):
        larger = sum(u.cost for u in every if u.size > gone.size and (u.layer, u.kind, u.index) in kept)
        assert larger + gone.cost > keep * plan.dense_cost
    for layer in range(2):
        one = plan.layer(layer)
        assert set(one[Role.FFN_OUT].cols) == set(one[Role.FFN_IN].rows)
        assert one[Role.QUERY].rows == one[Role.KEY].rows == one[Role.VALUE].rows


def test_a_share_that_is_too_small_is_refused_with_one_that_is_not() -> None:
    """The share that the error names keeps one unit."""
    given = weights()
    with pytest.raises(PlanError, match="no head or neuron fits into") as refused:
        largest(given, HEAD, 0.0001)
    named = float(str(refused.value).rpartition("--keep ")[2].partition(" ")[0])
    choices, share = largest(given, HEAD, named)
    assert 0 < share <= named
    assert Plan("x", HEAD, choices).cost > 0


def test_a_size_that_cannot_be_met_gives_the_nearest_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning that names both."""
    given = {site: torch.ones_like(matrix) for site, matrix in weights(1).items()}
    least = min(unit.cost for unit in units(given, HEAD, 0))
    whole = sum(unit.cost for unit in units(given, HEAD, 0))
    monkeypatch.setattr("pgb_core.search.units.fitting", lambda every, keep: list(every)[:1])
    warned: list[str] = []
    run = Mock()
    run.config.keep, run.config.budget, run.dense.config.head_dim = 0.9, "weights", HEAD
    run.report.warn = warned.append
    choices = steps.units_left(run, given)
    share = Plan("x", HEAD, choices).cost / whole
    assert share >= least / whole
    (said,) = warned
    assert said.startswith(f"{share:.1%} of the weights are kept where 90.0% was asked")


@pytest.mark.parametrize("keep", [0.1, 0.5])
def test_the_largest_weights_stay(keep: float) -> None:
    """No weight that went is larger than one that is kept, and they are as many as asked for."""
    given = weights()
    plan = Plan("x", HEAD, keep_weights(given, keep))
    assert plan.cost == int(keep * plan.dense_cost)
    smallest = sorted((w.abs().flatten() for w in given.values()), key=len)
    ranked = torch.cat(smallest).sort(descending=True).values
    from_bits = sum(int((w.abs() >= ranked[plan.cost - 1]).sum()) for w in given.values())
    assert from_bits == plan.cost


def test_a_budget_of_flops_counts_products_between_tokens() -> None:
    """Heads are dearer then; single weights that are gone save none at all."""
    given = weights()
    plan = Plan("x", HEAD, largest(given, HEAD, 0.5, tokens=128)[0])
    assert flops(plan, 128) / flops(plan, 128, dense=True) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ConfigError, match="its graph is dense; use --budget weights"):
        CompressConfig(checkpoint="c", out="o", train="t", method="magnitude", structure="weights", budget="flops")


@pytest.mark.parametrize("structure", ["units", "weights"])
def test_a_run_is_resumed_and_gives_an_artifact(
    structure: str, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan, compensation and re-finetuning are kept; the manifest says the method and its options."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="magnitude", structure=structure)
    with monkeypatch.context() as patch:
        patch.setattr("pgb_core.pipeline.write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            compress(config)
    notes: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "note", notes.append)
    compress(config, told)
    assert "taken over from a stopped run: compensated, finetuned, plan" in notes
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.4, abs=0.01)
    said = manifest.provenance["settings"]
    assert (said["method"], said["structure"]) == ("magnitude", structure)
    assert "passes" not in said


def test_a_schedule_prunes_while_the_model_trains(tmp_path: Path, texts: Path) -> None:
    """From end to end; it needs epochs, and does not compensate."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    chosen = {"method": "magnitude", "structure": "weights", "schedule": "cubic"}
    with pytest.raises(ConfigError, match="epochs 0: magnitude needs training"):
        settings(model, tmp_path / "small", texts, **chosen, epochs=0.0)
    titles: list[str] = []
    told = Report()
    told.stage = lambda title, total=None: titles.append(title)  # type: ignore[method-assign]
    compress(settings(model, tmp_path / "small", texts, **chosen), told)
    assert "Training the dense model toward its plan" in titles
    assert "Compensating layer by layer" not in titles
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.4, abs=0.01)
    with pgb_core.load(tmp_path / "small", "fp32", threads=1) as loaded:
        assert sum(found["score"] for found in loaded("the film was very good", top_k=2)) == pytest.approx(1)


def test_options_of_another_method_are_refused() -> None:
    """By name; and by value, where methods have an option of the same name."""
    with pytest.raises(ConfigError, match="setting 'passes' is of another --method"):
        CompressConfig(checkpoint="c", out="o", train="t", method="magnitude", passes=3)
    for method, structure, own in (
        ("magnitude", "shared", "units, weights"),
        ("pgb", "units", "auto, shared, disjoint, nested"),
    ):
        with pytest.raises(ConfigError, match=f"'{structure}' is of another --method; use one of {own}"):
            CompressConfig(checkpoint="c", out="o", train="t", method=method, structure=structure)


def test_a_sublayer_that_writes_nothing_is_dropped() -> None:
    """With what was kept of its other matrices, whose share others get."""
    given = weights()
    given[Site(1, Role.ATTENTION_OUTPUT)] *= 1e-6
    plan = Plan("x", HEAD, keep_weights(given, 0.5))
    assert plan.cost == plan.dense_cost // 2
    assert [plan.choices[Site(1, role)].cost for role in list(Role)[:4]] == [0, 0, 0, 0]
    assert plan.choices[Site(0, Role.QUERY)].cost
