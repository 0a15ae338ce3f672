"""Fixed attention: what each pattern attends to, in plan, model and graph."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pgb_core import export
from pgb_core.errors import PlanError
from pgb_core.export.forms.int8 import Int8
from pgb_core.export.forms.openvino import OpenVino
from pgb_core.export.forms.token_major import Writer
from pgb_core.learn.compensate import compensate
from pgb_core.model.blocks import Attention, attention_bias
from pgb_core.model.patterns import pattern_weights
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Pattern, Plan, Role, Site, flops
from pgb_core.tasks.features import Batch
from tests.conftest import TASKS, small_encoder
from tests.core.planned import dense_plan, patterned_plan
from tests.core.test_graph import LENGTHS, ExactInt8, difference

SIZES = (1, 2, 3, 9)


def attended(pattern: Pattern, here: int, count: int) -> list[float]:
    """By the definition: weights of one token over the real ones."""
    places = range(count)
    raw = {
        Pattern.UNIFORM: lambda there: 1,
        Pattern.CURRENT: lambda there: there == here,
        Pattern.PREVIOUS: lambda there: there == here - 1,
        Pattern.NEXT: lambda there: there == here + 1,
        Pattern.LEFT: lambda there: (there + 1) ** 3 if there < here - 1 else 0,
        Pattern.RIGHT: lambda there: (count - there) ** 3 if there > here + 1 else 0,
        Pattern.START: lambda there: there == 0,
        Pattern.END: lambda there: there == count - 1,
    }
    found = [float(raw[pattern](there)) for there in places]
    return [one / sum(found) for one in found] if sum(found) else [float(there == here) for there in places]


def padded() -> tuple[Tensor, Tensor]:
    """Token ids of mixed lengths in one batch, and which are real."""
    ids = torch.randint(5, 400, (len(SIZES), max(SIZES)))
    mask = torch.zeros_like(ids)
    for row, size in enumerate(SIZES):
        mask[row, :size] = 1
    return ids.where(mask.bool(), 0), mask


@pytest.mark.parametrize("pattern", Pattern)
def test_a_pattern_is_what_its_definition_says(pattern: Pattern) -> None:
    """Of real tokens, for any length; padding is not attended to."""
    _, mask = padded()
    found = pattern_weights(pattern, mask.bool())
    assert found.shape == (len(SIZES), max(SIZES), max(SIZES))
    for row, size in enumerate(SIZES):
        wanted = torch.tensor([attended(pattern, here, size) for here in range(size)])
        torch.testing.assert_close(found[row, :size, :size], wanted)
        assert not found[row, :size, size:].any()


@torch.no_grad()
def test_heads_that_are_fixed_stand_beside_those_that_learn() -> None:
    """Against the dense maps, head by head: each in its own place of what the output map reads."""
    model = small_encoder("bert", "qa")
    plan = patterned_plan(model)
    compact = apply_plan(model, plan)
    x, mask = torch.randn(len(SIZES), max(SIZES), 96), padded()[1]
    bias = attention_bias(mask)
    for index in range(4):
        dense, small = model.layers[index].attention, compact.layers[index].attention
        assert isinstance(dense, Attention)
        weights = dense.weights(x, bias)
        fixed, kept = plan.patterns[index], {row // 16 for row in plan.choices[Site(index, Role.VALUE)].rows}
        for head, pattern in fixed.items():
            weights[:, head] = pattern_weights(pattern, mask.bool())
        if index == 0:  # whose learned heads are narrower
            query, key = (m(x).unflatten(-1, (6, 16))[..., :12].transpose(1, 2) for m in (dense.query, dense.key))
            narrow = (query * dense.scale @ key.transpose(2, 3) + bias).softmax(-1)
            weights[:, [1, 4]] = narrow[:, [1, 4]]
        weights[:, [head for head in range(6) if head not in kept]] = 0
        mixed = weights @ dense.value(x).unflatten(-1, (6, 16)).transpose(1, 2)
        wanted = dense.output(mixed.transpose(1, 2).flatten(2))
        found = small(x, bias)
        torch.testing.assert_close(found[mask.bool()], wanted[mask.bool()], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_padding_does_not_leak(task: str) -> None:
    """An input alone has the logits that it has in a batch, whatever stands in the padding."""
    model = small_encoder("bert", task)
    compact = apply_plan(model, patterned_plan(model))
    ids, mask = padded()
    found = compact(ids, mask)
    other = compact(ids.where(mask.bool(), 77), mask)
    for row, size in enumerate(SIZES):
        alone = compact(ids[row : row + 1, :size])[0]
        for one in (found, other):
            torch.testing.assert_close(one[row][:size] if task == "qa" else one[row], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", ["cpu", "gpu", OpenVino, ExactInt8])
def test_graphs_with_fixed_attention_equal_the_model(task: str, form: str | type[Writer]) -> None:
    """Any layout, one token, the longest input, padding."""
    model = small_encoder("bert", task)
    compact = apply_plan(model, patterned_plan(model))
    proto = export.channels_first(compact, form) if isinstance(form, str) else export.token_major(compact, {}, form)
    content = proto.SerializeToString()
    for batch, length in LENGTHS:
        gap, same = difference(compact, content, batch, length)
        assert gap < 1e-4
        assert same


@pytest.mark.parametrize("form", ["cpu", "gpu", OpenVino, Int8])
def test_a_layer_of_fixed_heads_has_no_query_no_key_and_no_softmax(form: str | type[Writer]) -> None:
    """Only what its value and its output take; a layer with a head that learns has them once."""
    model = small_encoder("bert", "qa")
    compact = apply_plan(model, patterned_plan(model))
    proto = export.channels_first(compact, form) if isinstance(form, str) else export.token_major(compact, {}, form)
    scored = {"Softmax", "MultiHeadAttention"}
    for layer, learns in enumerate((True, False, False, True)):
        nodes = [node for node in proto.graph.node if node.name.startswith(f"layer.{layer}.")]
        assert sum(node.op_type in scored for node in nodes) == learns
        stored = [tensor.name for tensor in proto.graph.initializer if tensor.name.startswith(f"layer.{layer}.")]
        names = [*stored, *(output for node in nodes for output in node.output)]
        assert [any(f".{role}" in name for name in names) for role in ("query", "key")] == [learns, learns]
    if form == "cpu":
        assert [node.name for node in proto.graph.node if node.op_type == "Conv" and "layer.2" in node.name] == [
            "layer.2.value",
            "layer.2.attention_output",
        ]
    attention = compact.layers[2].attention
    assert isinstance(attention, Attention)
    assert (attention.learned, attention.heads, attention.widths) == (None, 0, [0, 96])
    with pytest.raises(ValueError, match="no head of this attention learns"):
        attention.weights(torch.zeros(1, 1, 96))


def test_a_fixed_head_costs_its_value_and_output() -> None:
    """Weights by hand; FLOPs between tokens for contexts alone, and half of those that learned attention takes."""
    model = small_encoder("bert", "qa")
    plan, whole = patterned_plan(model), dense_plan(model)
    assert apply_plan(model, plan).layers[2].attention.state_dict().keys() == {
        "value.weight", "value.bias", "output.weight", "output.bias",
    }  # fmt: skip
    gone = 2 * 96 * (6 * 16 - 2 * 12 + 6 * 16 + 6 * 16 + 5 * 16) + 2 * 96 * 16
    assert whole.cost - plan.cost == gone
    between = (2 * 12 + 4 * 16) + (2 * 16) + 0 + (16 + 3 * 16)
    assert flops(plan, 50) == 2 * 50 * plan.cost + 2 * 50 * 50 * between


def test_a_plan_says_its_patterns() -> None:
    """And a plan of the schema before has none."""
    plan = patterned_plan(small_encoder("bert", "qa"))
    assert Plan.from_json(plan.to_json()) == plan
    assert '"3":{"0":"next","1":"left"' in plan.to_json()
    before = dense_plan(small_encoder("bert", "qa"))
    text = before.to_json().replace('"schema":3', '"schema":2').replace('"patterns":{},', "")
    assert Plan.from_json(text) == before
    for wrong in (plan.to_json().replace('"next"', '"nowhere"'), before.to_json().replace('"patterns":{},', "")):
        with pytest.raises(PlanError, match="not a plan"):
            Plan.from_json(wrong)


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [
        ({1: {0: Pattern.UNIFORM}}, "1.query: keeps head 0, whose attention is fixed"),
        ({0: {5: Pattern.END, 2: Pattern.END, 3: Pattern.END, 0: Pattern.END}}, "0.value: keeps nothing of head 0"),
        ({0: {5: Pattern.END, 3: Pattern.END}}, "0.value: keeps other heads than the query"),
        ({4: {0: Pattern.END}}, "layer 4, and has 4 layers"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(patterns: dict[int, dict[int, Pattern]], reason: str) -> None:
    """A head either learns or is fixed, and has a value."""
    model = small_encoder("bert", "qa")
    given = patterned_plan(model)
    choices = dict(given.choices)
    choices |= {site: choice for site, choice in dense_plan(model).choices.items() if site.layer}
    with pytest.raises(PlanError, match=reason):
        apply_plan(model, replace(given, choices=choices, patterns={0: given.patterns[0], **patterns}))


@torch.no_grad()
def test_what_is_left_is_compensated_without_query_and_key() -> None:
    """Hidden states at the end are nearer to the dense model's than before."""
    model = small_encoder("bert", "classification")
    plan = patterned_plan(model)
    compact = apply_plan(model, plan)
    batches = [Batch(torch.randint(5, 400, (16, 20)), torch.ones(16, 20).long(), torch.zeros(16, 20).long(), None)] * 4
    wanted, gaps = model(batches[0].input_ids), []
    gaps.append(float((compact(batches[0].input_ids) - wanted).norm()))
    compensate(model, compact, plan, batches, 1e-2)
    gaps.append(float((compact(batches[0].input_ids) - wanted).norm()))
    assert gaps[1] < 0.7 * gaps[0]
