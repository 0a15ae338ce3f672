"""What maps read, and what the int8 forms make of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pgb_core.export.forms.int8 import Int8
from pgb_core.export.forms.openvino import OpenVinoInt8
from pgb_core.export.forms.token_major import Writer, token_major
from pgb_core.export.ranges import MOST, Range, observe
from pgb_core.inference.tokens import Tokens
from pgb_core.model.encoder import Encoder
from pgb_core.model.quantise import even
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import Plan
from pgb_core.plan.kinds import LowRank
from pgb_core.session import open_session
from tests.conftest import small_encoder
from tests.core.planned import dense_plan, hand_plan, nested_plan

LARGE = 40.0


def inputs(count: int = 12) -> list[Tokens]:
    """Of several lengths."""
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(5, 400, (5 + n % 9,), generator=generator).tolist() for n in range(count)]
    return [Tokens(ids, [0] * len(ids)) for ids in rows]


def low_rank(model: Encoder) -> Plan:
    """Every matrix as two thin products."""
    whole = dense_plan(model)
    return Plan("test", whole.head_dim, {site: LowRank(choice.shape, 20) for site, choice in whole.choices.items()})


def uneven(task: str = "qa") -> Encoder:
    """With one channel of the stream that is much larger than the others, as fine-tuned models have."""
    model = small_encoder("bert", task)
    with torch.no_grad():
        for layer in model.layers:
            layer.attention_norm.weight[3] = LARGE
            layer.feed_forward_norm.weight[3] = LARGE
            for linear in (*layer.attention.reading().values(), *layer.feed_forward.reading().values()):
                linear.weight[..., 3] /= LARGE  # type: ignore[union-attr, operator]
    return model


def test_every_map_but_the_last_is_seen_without_padding() -> None:
    """Channel by channel, as PyTorch computes them."""
    model, read = small_encoder("bert", "qa"), inputs()
    found = observe(model, read)
    assert set(found) == {
        f"layer.{n}.{role}" for n in range(4) for role in ("query", "key", "value", "attention_output", "ffn_in")
    }
    with torch.no_grad():
        streams = torch.cat([model.embeddings(torch.tensor([t.ids]), torch.tensor([t.types]))[0] for t in read])
    assert torch.equal(found["layer.0.query"].low, streams.amin(0))
    assert torch.equal(found["layer.0.query"].high, streams.amax(0))
    assert [found[f"layer.1.{role}"].stream for role in ("query", "attention_output", "ffn_in")] == [True, False, True]


def test_no_more_inputs_are_run_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training set may be long."""
    model, calls = small_encoder("bert", "qa"), []
    model.embeddings.register_forward_hook(lambda *_: calls.append(1))
    observe(model, inputs(3) * MOST)
    assert len(calls) == MOST


def test_a_range_holds_zero_and_both_ends() -> None:
    """Whatever the channels are, in unsigned bytes."""
    for low, high in ((-1.0, 3.0), (2.0, 5.0), (-7.0, -2.0), (0.0, 0.0)):
        step, zero = Range(torch.tensor([low, low / 2]), torch.tensor([high / 2, high]), True).scale
        for value in (0.0, low, high):
            stored = np.clip(np.round(value / step) + zero, 0, 255)
            assert abs((stored - zero) * step - value) <= step


def test_evened_products_are_the_same_products() -> None:
    """Inputs shrink by what weights grow; the large channel is no longer one."""
    torch.manual_seed(0)
    x, weight = torch.randn(50, 8), torch.randn(6, 8)
    x[:, 3] *= LARGE
    factors = even(x.abs().amax(0), weight)
    torch.testing.assert_close((x / factors) @ (weight * factors).T, x @ weight.T, atol=1e-4, rtol=1e-4)
    evened = (x / factors).abs().amax(0)
    assert evened.max() / evened.median() < 0.3 * float(x.abs().amax(0).max() / x.abs().amax(0).median())
    assert torch.isfinite(even(torch.zeros(8), torch.zeros(6, 8))).all()


@pytest.mark.parametrize("kind", ["dense", "hand", "hand nested"])
@pytest.mark.parametrize("writer", [Int8, OpenVinoInt8])
def test_ranges_bring_int8_nearer_to_a_model_with_a_large_channel(writer: type[Writer], kind: str) -> None:
    """Whatever was pruned."""
    model = uneven()
    if kind != "dense":
        model = apply_plan(model, hand_plan(model) if kind == "hand" else nested_plan(model)).eval()
    ranges = observe(model, inputs())
    one_scale = {  # as if no channel were the stream's
        name: Range(r.low.amin().expand_as(r.low), r.high.amax().expand_as(r.high), False) for name, r in ranges.items()
    }
    off = [distance(model, token_major(model, found, writer)) for found in (ranges, one_scale)]
    assert off[0] < 0.7 * off[1]


def distance(model: Encoder, proto: onnx.ModelProto) -> float:
    """Mean square of what logits differ by."""
    session, total = open_session(proto.SerializeToString(), threads=1), 0.0
    for tokens in inputs():
        feed = {
            "input_ids": np.array([tokens.ids]),
            "attention_mask": np.ones((1, len(tokens.ids)), np.int64),
            "token_type_ids": np.array([tokens.types]),
        }
        with torch.no_grad():
            wanted = model(*(torch.from_numpy(array) for array in feed.values())).numpy()
        found = session.run(None, {entry.name: feed[entry.name] for entry in session.get_inputs()})
        total += float(np.mean((np.stack(found, -1) - wanted) ** 2))
    return total


def test_a_map_that_reads_some_channels_is_evened_by_theirs() -> None:
    """The factors of a block belong to what it reads, in its order."""
    dense = uneven()
    model = apply_plan(dense, hand_plan(dense)).eval()
    ranges = observe(model, inputs())
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in token_major(model, ranges, OpenVinoInt8).graph.initializer}
    checked = 0
    for site, linear in model.sites().items():
        name, chain = f"layer.{site.layer}.{site.role}", linear.chain()
        one = chain.products[-1]
        if len(chain.products) > 1 or name not in ranges or not ranges[name].stream or one.in_index is None:
            continue
        for n, block in enumerate(one.blocks):
            shares = stored.get(f"{name}.{n}.shares" if len(one.blocks) > 1 else f"{name}.shares")
            if shares is not None:
                expected = 1 / even(ranges[name].largest[one.in_index[n]], block)
                np.testing.assert_allclose(shares, expected.detach().numpy(), rtol=1e-5)
                checked += 1
    assert checked > 1


def test_weights_have_eight_bits_only_where_the_engine_scales_their_inputs() -> None:
    """It multiplies bytes of a scale that is known as they are, and on some CPUs eight bits are too many for that."""
    model = small_encoder("bert", "qa")
    without, known = (token_major(model, ranges, OpenVinoInt8) for ranges in ({}, observe(model, inputs())))
    assert "QuantizeLinear" not in {node.op_type for node in without.graph.node}
    assert set(bits_of(without)) == {8}
    assert {8 if name.endswith("ffn_out.whole") else 7 for name in names_of(known)} == {7, 8}
    assert bits_of(known) == [8 if name.endswith("ffn_out.whole") else 7 for name in names_of(known)]


def names_of(proto: onnx.ModelProto) -> list[str]:
    """Of matrices in whole numbers."""
    return [t.name for t in proto.graph.initializer if t.name.endswith(".whole")]


def bits_of(proto: onnx.ModelProto) -> list[int]:
    """That the entries of each need."""
    stored = {t.name: onnx.numpy_helper.to_array(t).astype(int) for t in proto.graph.initializer}
    return [1 + int(np.abs(stored[name]).max()).bit_length() for name in names_of(proto)]


@pytest.mark.parametrize("plan", [None, hand_plan, nested_plan, low_rank])
def test_with_ranges_an_answer_does_not_depend_on_its_batch(plan: Callable[[Encoder], Plan] | None) -> None:
    """Whatever kinds of maps the model has. Without ranges the scale of an input is that of the whole batch."""
    model = small_encoder("bert", "qa")
    if plan is not None:
        model = apply_plan(model, plan(model)).eval()
    for ranges, alike in ((observe(model, inputs()), True), ({}, False)):
        session = open_session(token_major(model, ranges, Int8).SerializeToString(), threads=1)
        rows = torch.randint(5, 400, (16, 12), generator=torch.Generator().manual_seed(1))

        def logits(ids: torch.Tensor, session: Any = session) -> np.ndarray:
            feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
            found = session.run(None, {i.name: feed[i.name].numpy() for i in session.get_inputs()})
            return np.asarray(found[0][0])

        off = np.abs(logits(rows[:1]) - logits(rows)).max()
        assert (off < 1e-5) == alike
