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
from pgb_core.methods.magnitude import keep_units, keep_weights
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.progress.report import Report
from pgb_core.search.units import Sizes, choices, fitting, mean_squares
from tests.core.small import checkpoint, resumed, settings

HIDDEN, NEURONS, HEAD = 48, 96, 8
SHAPES = dict.fromkeys(Role, (HIDDEN, HIDDEN)) | {Role.FFN_IN: (NEURONS, HIDDEN), Role.FFN_OUT: (HIDDEN, NEURONS)}


def largest(weights: dict[Site, torch.Tensor], keep: float, tokens: int = 0) -> Plan:
    """The plan of the largest heads and neurons of two layers."""
    sizes = Sizes(2, HIDDEN // HEAD, NEURONS, HIDDEN, HEAD, tokens)
    return Plan("x", HEAD, choices(fitting(mean_squares(weights, HEAD), sizes, keep), sizes))


def weights(layers: int = 2) -> dict[Site, torch.Tensor]:
    """Random matrices of a small encoder."""
    return {Site(n, role): torch.randn(shape) for n in range(layers) for role, shape in SHAPES.items()}


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_the_largest_units_stay(keep: float) -> None:
    """What went would not have fitted beside the larger ones that are kept, and the budget is met."""
    given = weights()
    given[Site(1, Role.FFN_IN)][7] *= 30
    given[Site(0, Role.VALUE)][:HEAD] *= 30
    plan = largest(given, keep)
    assert plan.cost / plan.dense_cost == pytest.approx(keep, abs=0.01)
    heads = {(n, Role.VALUE, row // HEAD) for n in range(2) for row in plan.choices[Site(n, Role.VALUE)].rows}
    kept = heads | {(n, Role.FFN_IN, row) for n in range(2) for row in plan.choices[Site(n, Role.FFN_IN)].rows}
    assert {(1, Role.FFN_IN, 7), (0, Role.VALUE, 0)} <= kept
    found = mean_squares(given, HEAD)
    every = [
        (float(size), cost, (n, kind, index) in kept)
        for kind, sizes, cost in (
            (Role.VALUE, found.heads, 4 * HEAD * HIDDEN),
            (Role.FFN_IN, found.neurons, 2 * HIDDEN),
        )
        for n, row in enumerate(sizes)
        for index, size in enumerate(row)
    ]
    assert sum(cost for _, cost, _ in every) == plan.dense_cost
    for size, cost, stays in every:
        larger = sum(other[1] for other in every if other[0] > size and other[2])
        assert stays or larger + cost > keep * plan.dense_cost
    for layer in range(2):
        one = plan.layer(layer)
        assert set(one[Role.FFN_OUT].cols) == set(one[Role.FFN_IN].rows)
        assert one[Role.QUERY].rows == one[Role.KEY].rows == one[Role.VALUE].rows


def test_a_share_that_is_too_small_is_refused_with_one_that_is_not() -> None:
    """The share that the error names keeps one head."""
    given = weights()
    with pytest.raises(PlanError, match="no head fits into") as refused:
        largest(given, 0.0001)
    named = float(str(refused.value).rpartition("--keep ")[2].partition(" ")[0])
    plan = largest(given, named)
    assert 0 < plan.cost / plan.dense_cost <= named


def test_a_size_that_cannot_be_met_gives_the_nearest_below() -> None:
    """With a warning that names both."""
    warned: list[str] = []
    run = Mock()
    run.config.keep, run.config.budget = 0.9, "weights"
    run.dense.config.head_dim = HEAD
    run.dense.config.sizes = lambda tokens: Sizes(1, HIDDEN // HEAD, 1, HIDDEN, HEAD, tokens)
    run.report.warn = warned.append
    given = {
        Site(0, role): torch.randn(shape)
        for role, shape in (SHAPES | {Role.FFN_IN: (1, HIDDEN), Role.FFN_OUT: (HIDDEN, 1)}).items()
    }
    plan = Plan("x", HEAD, keep_units(run, given))
    share = plan.cost / plan.dense_cost
    assert share < 0.9
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
    plan = largest(given, 0.5, tokens=128)
    assert flops(plan, 128) / flops(plan, 128, dense=True) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ConfigError, match="its graph is dense; use --budget weights"):
        CompressConfig(checkpoint="c", out="o", train="t", method="magnitude", structure="weights", budget="flops")


@pytest.mark.parametrize("structure", ["units", "weights"])
def test_a_run_is_resumed_and_gives_an_artifact(structure: str, tmp_path: Path, texts: Path) -> None:
    """Plan, compensation and re-finetuning are kept; the manifest says the method and its options."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="magnitude", structure=structure)
    _, heard = resumed(config)
    assert "taken over from a stopped run: compensated, finetuned, plan" in heard.notes
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
    with pytest.raises(ConfigError, match="setting 'passes' is of --method pgb or pgb-paper; choose one"):
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
