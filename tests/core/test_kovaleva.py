"""Disabling attention by trial: what it is worth, the budget, and a run from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import pgb_core
from pgb_core.errors import ConfigError, PlanError
from pgb_core.learn.disable import mean_written, uniform_heads, without_attention, worth
from pgb_core.model.blocks import Constant
from pgb_core.model.surgery import apply_plan
from pgb_core.pipeline import compress
from pgb_core.plan import Pattern, Plan, Role, Site
from pgb_core.progress.report import Report
from pgb_core.search.patterns import fixed_choices, nearest, patterns_of, share
from pgb_core.tasks.features import Batch
from tests.conftest import small_encoder
from tests.core.small import checkpoint, resumed, settings

SHAPES = dict.fromkeys(Role, (96, 96)) | {Role.FFN_IN: (384, 96), Role.FFN_OUT: (96, 384)}


def batch(rows: int, length: int) -> Batch:
    """Random tokens, the last row padded."""
    ids, mask = torch.randint(5, 400, (rows, length)), torch.ones(rows, length).long()
    mask[-1, length - 4 :] = 0
    return Batch(ids, mask, torch.zeros_like(ids), None)


def of(heads: dict[tuple[int, int], Pattern], dropped: tuple[int, ...] = ()) -> Plan:
    """A plan for 4 layers of width 96 with 6 heads of 16."""
    shapes = {Site(layer, role): shape for layer in range(4) for role, shape in SHAPES.items()}
    return Plan("test", 16, fixed_choices(shapes, 16, heads, dropped), patterns=patterns_of(heads))


@torch.no_grad()
def test_the_worth_of_a_head_is_what_the_cut_model_loses() -> None:
    """Against the model that a plan with that one head fixed gives, also where others are fixed already."""
    dense = small_encoder("bert", "classification")
    before: dict[tuple[int, int], Pattern] = {(1, 2): Pattern.UNIFORM, (3, 0): Pattern.UNIFORM}
    model = apply_plan(dense, of(before))
    groups = [batch(5, 12), batch(2, 20)]

    def judge(number: int, logits: Tensor) -> Tensor:
        return (logits[:, 0] * (1 + number)).mean()

    found = worth(model, groups, judge, uniform_heads)
    assert len(found) == 22
    for layer, head, dense_head in ((0, 4, 4), (1, 2, 3), (3, 0, 1)):
        cut = apply_plan(dense, of({**before, (layer, dense_head): Pattern.UNIFORM}))
        totals = [
            sum(len(b.input_ids) * float(judge(n, one(b.input_ids, b.attention_mask))) for n, b in enumerate(groups))
            for one in (cut, model)
        ]
        assert found[layer, head] == pytest.approx((totals[0] - totals[1]) / 7, abs=1e-5)


@torch.no_grad()
def test_the_worth_of_a_layer_is_what_its_mean_loses() -> None:
    """Against the model whose attention is that constant."""
    dense = small_encoder("bert", "qa")
    groups = [batch(3, 9)]
    means = mean_written(dense, groups)
    cut = apply_plan(dense, of({}, dropped=(2,)))
    assert isinstance(cut.layers[2].attention, Constant)
    cut.layers[2].attention.bias.copy_(means[2])

    def judge(number: int, logits: Tensor) -> Tensor:
        return logits[groups[0].attention_mask.bool()].mean()

    gap = judge(0, cut(groups[0].input_ids, groups[0].attention_mask)) - judge(
        0, dense(groups[0].input_ids, groups[0].attention_mask)
    )
    found = worth(dense, groups, judge, without_attention(means))
    assert found[2,] == pytest.approx(float(gap), abs=1e-5)
    first = dense.layers[0].attention
    x = dense.embeddings(groups[0].input_ids, groups[0].token_type_ids)
    written = first(x, (groups[0].attention_mask[:, None, None, :].float() - 1) * 1e9)
    torch.testing.assert_close(means[0], written[groups[0].attention_mask.bool()].mean(0))


def test_a_model_of_which_nothing_may_go_is_refused() -> None:
    """As one of a single layer, whose attention is all that there is."""
    with pytest.raises(PlanError, match="use another --method"):
        nearest(lambda count: of({}), 0, 0.5, "weights")


@pytest.mark.parametrize("budget", ["weights", "flops"])
@pytest.mark.parametrize("keep", [0.5, 0.85, 0.9, 0.97, 0.99])
def test_the_nearest_number_of_heads_is_found(keep: float, budget: str) -> None:
    """One fewer and one more are further from the budget; below the floor all go."""
    heads = [(layer, head) for layer in range(4) for head in range(6)]

    def after(count: int) -> Plan:
        return of(dict.fromkeys(heads[:count], Pattern.UNIFORM))

    count = nearest(after, 24, keep, budget)
    gaps = {n: abs(share(after(n), budget) - keep) for n in (count - 1, count, count + 1) if 1 <= n <= 24}
    assert min(gaps, key=gaps.__getitem__) == count
    if keep == 0.5:
        assert count == 24
        assert share(after(count), "weights") == pytest.approx(5 / 6)
    assert share(of({}, dropped=(0, 1, 2, 3)), "weights") == pytest.approx(2 / 3)


def test_a_run_is_resumed_and_answers(tmp_path: Path, texts: Path) -> None:
    """The table, the plan and the training are kept, and give what a run in one go gives."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    chosen = {"method": "kovaleva", "judged_rows": 20, "judged_again": 0.3, "keep": 0.9, "epochs": 1.0}
    whole = compress(settings(model, tmp_path / "whole", texts, **chosen))
    config = settings(model, tmp_path / "small", texts, **chosen)
    artifact, heard = resumed(config)
    assert "taken over from a stopped run: compensated, finetuned, plan, worth" in heard.notes
    assert artifact.graph("fp32").read_bytes() == whole.graph("fp32").read_bytes()
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    assert {pattern for heads in plan.patterns.values() for pattern in heads.values()} == {Pattern.UNIFORM}
    assert plan.cost / plan.dense_cost == pytest.approx(0.9, abs=0.004)
    table = artifact.manifest.measured["worth"]
    assert (table["disable"], [len(row) for row in table["table"]]) == ("heads", [6] * 4)
    assert pgb_core.load(artifact.path)("a very good film")


def test_what_cannot_be_reached_is_said(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the nearest, here attention in one layer alone; and a loss needs labels."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    warnings: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "warn", warnings.append)
    quick = {"method": "kovaleva", "disable": "layers", "judged_rows": 4, "keep": 0.5, "epochs": 0.0}
    artifact = compress(settings(model, tmp_path / "small", texts, **quick), told)
    assert any("75.0% of the weights are kept where 50.0% was asked" in line for line in warnings)
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    left = [sum(plan.choices[Site(layer, role)].cost for role in list(Role)[:4]) for layer in range(4)]
    assert sorted(left) == [0, 0, 0, 4 * 96 * 96]
    assert [len(row) for row in artifact.manifest.measured["worth"]["table"]] == [1] * 4
    assert pgb_core.load(artifact.path)("a very good film")
    unlabelled = tmp_path / "unlabelled.jsonl"
    unlabelled.write_text('{"text": "a film"}\n{"text": "a song"}\n')
    with pytest.raises(ConfigError, match="use --judged-by agreement"):
        compress(settings(model, tmp_path / "other", texts, **quick, judged_by="loss", calibrate=str(unlabelled)))
