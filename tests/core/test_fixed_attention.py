"""Fixed attention from a fine-tuned model: how far heads are from patterns, and a run from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.errors import PlanError
from pgb_core.inspect import page
from pgb_core.learn.divergence import divergences
from pgb_core.methods.fixed_attention import PATTERNS
from pgb_core.model.blocks import Attention
from pgb_core.model.patterns import pattern_weights
from pgb_core.pipeline import compress
from pgb_core.plan import Pattern, Plan
from pgb_core.search.patterns import closest, nearest
from tests.conftest import small_encoder
from tests.core.small import checkpoint, resumed, settings
from tests.core.test_kovaleva import batch


@torch.no_grad()
def test_the_divergence_is_that_of_every_real_token() -> None:
    """Against torch's own, token by token."""
    model = small_encoder("bert", "classification")
    groups = [batch(2, 7), batch(3, 10)]
    found = divergences(model, groups, PATTERNS)
    assert [table.shape for table in found.values()] == [(6, 7)] * 4
    attention = model.layers[0].attention
    assert isinstance(attention, Attention)
    total, tokens = torch.zeros(6, 7), 0
    for one in groups:
        for ids, mask, types in zip(one.input_ids, one.attention_mask, one.token_type_ids, strict=True):
            size = int(mask.sum())
            tokens += size
            x = model.embeddings(ids[None, :size], types[None, :size])
            logs = attention.weights(x)[0].log()
            for n, pattern in enumerate(PATTERNS):
                wanted = pattern_weights(pattern, torch.ones(1, size).bool())[0]
                for head in range(6):
                    total[head, n] += torch.nn.functional.kl_div(logs[head], wanted, reduction="sum")
    torch.testing.assert_close(found[0], total / tokens, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_head_that_attends_by_place_is_found() -> None:
    """Embeddings that are positions alone, and a query and key that meet one place apart."""
    model = small_encoder("bert", "classification")
    attention = model.layers[0].attention
    assert isinstance(attention, Attention)
    assert attention.query is not None
    assert attention.key is not None
    turn = torch.arange(16).repeat_interleave(2)[:16] * 0.4
    places = torch.arange(64).unsqueeze(1)
    waves = torch.where(torch.arange(16) % 2 == 0, (places * turn).sin(), (places * turn).cos())
    model.embeddings.word.weight.zero_()
    assert model.embeddings.token_type is not None
    model.embeddings.token_type.weight.zero_()
    positions = torch.zeros(model.embeddings.position.weight.shape)
    positions[:64, :16] = waves[: len(positions)]
    model.embeddings.position.weight.copy_(positions)
    model.embeddings.norm.weight.fill_(1)
    model.embeddings.norm.bias.zero_()
    x = model.embeddings(torch.zeros(1, 16).long(), None)[0]
    wanted = x.roll(1, 0)  # what a token asks for is what the one before it has
    solved = torch.linalg.lstsq(x[1:], wanted[1:]).solution.T
    for name, weight in (("query", solved), ("key", torch.eye(96))):
        linear = getattr(attention, name)
        linear.weight[:16] = 8 * weight[:16]
        linear.bias[:16] = 0
    found = divergences(model, [batch(2, 16)], PATTERNS)
    assert PATTERNS[int(found[0][0].argmin())] is Pattern.PREVIOUS


def test_the_closest_heads_come_first_and_one_of_each_layer_learns() -> None:
    """Whatever their order is."""
    tables = {layer: torch.rand(6, 7) for layer in range(4)}
    found = closest(tables, PATTERNS)
    far = [float(tables[layer][head].min()) for (layer, head), _ in found]
    assert far == sorted(far)
    assert len({head for head, _ in found}) == 20
    for layer, table in tables.items():
        (left,) = set(range(6)) - {head for (n, head), _ in found if n == layer}
        assert left == int(table.min(1).values.argmax())
    assert all(pattern is PATTERNS[int(tables[n][head].argmin())] for (n, head), pattern in found)


def test_a_model_of_which_no_head_may_be_fixed_is_refused() -> None:
    """As of one head a layer, which goes on learning; the error names another way."""
    assert closest({0: torch.rand(1, 7), 1: torch.rand(1, 7)}, PATTERNS) == []
    with pytest.raises(PlanError, match=r"nothing of this model may be fixed: .* use another --method"):
        nearest(lambda count: Plan("test", 16), 0, 0.5, "weights")


def test_a_run_is_resumed_and_answers(tmp_path: Path, texts: Path) -> None:
    """What is kept of it is taken over; the nearest to the budget is said; the manifest has the table."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    chosen = {"method": "fixed-attention", "judged_rows": 20, "keep": 0.8, "epochs": 1.0}
    config = settings(model, tmp_path / "small", texts, **chosen)
    whole = compress(settings(model, tmp_path / "whole", texts, **chosen))
    artifact, heard = resumed(config)
    assert "taken over from a stopped run: compensated, divergences, finetuned, plan" in heard.notes
    assert artifact.graph("fp32").read_bytes() == whole.graph("fp32").read_bytes()
    assert any("86.1% of the weights are kept where 80.0% was asked" in line for line in heard.warnings)
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    assert [len(heads) for heads in plan.patterns.values()] == [5] * 4
    table = artifact.manifest.measured["fixed_attention"]
    assert table["patterns"] == [str(pattern) for pattern in PATTERNS]
    assert [len(rows) for rows in table["divergences"].values()] == [6] * 4
    assert pgb_core.load(tmp_path / "small")("a very good film")
    pattern, heads = next((one, sorted(fixed)) for one in Pattern for fixed in [_of(plan, one)] if fixed)
    assert f"layer 0: {pattern} {' '.join(map(str, heads))}" in page(artifact, plan)


def _of(plan: Plan, pattern: Pattern) -> list[int]:
    """Heads of the first layer that have a pattern."""
    return [head for head, one in plan.patterns[0].items() if one is pattern]
