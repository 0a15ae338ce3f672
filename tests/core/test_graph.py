"""Exported graphs against PyTorch, and what is left in them."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from pgb_core import export
from pgb_core.errors import ParityError
from pgb_core.export.forms import int8
from pgb_core.export.forms.int8 import Int8
from pgb_core.export.forms.openvino import OpenVino, OpenVinoInt8
from pgb_core.export.forms.token_major import Writer
from pgb_core.export.parity import check_graph
from pgb_core.export.ranges import Range, step_and_zero
from pgb_core.inference.batches import run_all
from pgb_core.model.blocks import ACTIVATIONS
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.model.surgery import apply_plan
from pgb_core.plan import FEED_FORWARD
from pgb_core.session import open_session
from pgb_core.tasks.features import Features
from tests.conftest import ARCHITECTURES, CORE_ARCHITECTURES, TASKS, small_encoder
from tests.core.planned import hand_plan, nested_plan, random_plan

HAND = {"hand": hand_plan, "hand nested": nested_plan}
LENGTHS = ((1, 1), (1, 37), (3, 17), (2, 62))


def compact(architecture: str, task: str, kind: str) -> Encoder:
    """A dense, hand-planned or searched encoder."""
    model = small_encoder(architecture, task)
    if kind == "dense":
        return model
    plan = HAND[kind](model) if kind in HAND else random_plan(model, 0.25, kind)
    return apply_plan(model, plan)


def difference(model: Encoder, content: bytes, batch: int, length: int) -> tuple[float, bool]:
    """Largest logit difference over real tokens, and whether all answers are the same."""
    ids = torch.randint(5, 400, (batch, length))
    mask = torch.ones_like(ids)
    for row in range(1, batch):
        mask[row, length - 5 * row :] = 0
        ids[row, length - 5 * row :] = model.config.pad_id
    types = torch.zeros_like(ids)
    if model.config.types > 1:
        types[:, length // 2 :] = 1
    with torch.no_grad():
        wanted = model(ids, mask, types).numpy()
    feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": types.numpy()}
    found = open_session(content, threads=1).run(None, {name: feed[name] for name in export.input_names(model)})
    if model.config.task == "classification":
        return float(np.abs(found[0] - wanted).max()), bool((found[0].argmax(1) == wanted.argmax(1)).all())
    pairs = [
        (found[k][row][real], wanted[row, real, k]) for row, real in enumerate(mask.bool().numpy()) for k in (0, 1)
    ]
    return max(float(np.abs(a - b).max()) for a, b in pairs), all(a.argmax() == b.argmax() for a, b in pairs)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize("kind", ["dense", "hand", "hand nested", "shared", "disjoint", "nested"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", CORE_ARCHITECTURES)
def test_the_graph_equals_the_model(architecture: str, task: str, kind: str, target: str) -> None:
    """Both forms, any structure: one token, odd lengths, the longest length, padding."""
    model = compact(architecture, task, kind)
    content = export.channels_first(model, target).SerializeToString()
    for batch, length in LENGTHS:
        gap, same = difference(model, content, batch, length)
        assert gap < 1e-4
        assert same


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_fused_dense_graph_equals_the_model(architecture: str, task: str) -> None:
    """The baseline is the same model, with every attention, norm and activation fused."""
    model = small_encoder(architecture, task)
    proto = export.fused(model)
    kinds = [node.op_type for node in proto.graph.node]
    assert (kinds.count("Attention"), kinds.count("SkipLayerNormalization"), kinds.count("BiasGelu")) == (4, 8, 4)
    for batch, length in LENGTHS:
        assert difference(model, proto.SerializeToString(), batch, length)[0] < 1e-4


class ExactInt8(Int8):
    """What the form for int8 writes, but products and tables, which stay in float32."""

    small_tables = False

    def product(self, name: str, weight: Tensor, bias: Tensor | None, x: str, seen: Range | None) -> str:
        """See `Writer`."""
        g = self.g
        weights = g.constant(f"{name}.weight", weight.T)
        if bias is None:
            return g.op("MatMul", name, x, weights)
        return g.op("Add", name, g.op("MatMul", f"{name}.product", x, weights), g.constant(f"{name}.bias", bias))


@pytest.mark.parametrize("writer", [OpenVino, ExactInt8])
@pytest.mark.parametrize("kind", ["dense", "hand", "hand nested", "shared", "disjoint", "nested"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", CORE_ARCHITECTURES)
def test_token_major_graphs_equal_the_model(architecture: str, task: str, kind: str, writer: type[Writer]) -> None:
    """In float32, before an engine or whole numbers round anything: any structure, and padding."""
    model = compact(architecture, task, kind)
    content = export.token_major(model, {}, writer).SerializeToString()
    for batch, length in LENGTHS:
        gap, same = difference(model, content, batch, length)
        assert gap < 1e-4
        assert same


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_norms_are_those_of_the_checkpoint(activation: str) -> None:
    """In every form. Weights are large, so that both kinds of GELU are told apart."""
    dense = small_encoder("bert", "qa", hidden_act=activation, layer_norm_eps=0.1)
    with torch.no_grad():
        for site, linear in dense.sites().items():
            linear.get_parameter("weight").mul_(4 if site.role in FEED_FORWARD else 1)
    assert difference(dense, export.fused(dense).SerializeToString(), 3, 17)[0] < 1e-4
    for model in (dense, apply_plan(dense, hand_plan(dense))):
        protos = [export.channels_first(model, target) for target in ("cpu", "gpu")]
        protos += [export.token_major(model, {}, writer) for writer in (OpenVino, ExactInt8)]
        for proto in protos:
            assert difference(model, proto.SerializeToString(), 3, 17)[0] < 1e-4


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_neurons_fit_into_the_bytes_that_int8_has_for_them(activation: str) -> None:
    """Divided by the largest of their token, however small all of them are."""
    low, least = int8.RANGES.get(activation, int8.ANY)
    step, _ = step_and_zero(low, 1.0)
    neurons = ACTIVATIONS[activation](torch.linspace(-20, 20, 4001))
    for count in (500, 1_900, 2_000, 2_050, 4_001):
        token = neurons[:count]
        largest = token.max() if low > -1 else token.abs().max()
        assert float((token / largest.clamp_min(least)).min()) >= low - step / 2


@pytest.mark.parametrize("task", TASKS)
def test_an_int8_graph_of_a_nested_model_gathers_nothing(task: str) -> None:
    """Inside its layers: what reads a prefix has a slice."""
    proto = export.token_major(compact("bert", task, "hand nested"), {}, Int8)
    inside = [(node.op_type, node.name) for node in proto.graph.node if node.name.startswith("layer.")]
    assert [name for kind, name in inside if kind == "Gather"] == []
    assert ("Slice", "layer.0.ffn_in.0.prefix") in inside
    grouped = export.token_major(compact("bert", task, "hand"), {}, Int8)
    assert any(node.op_type == "Gather" and node.name.startswith("layer.") for node in grouped.graph.node)


@pytest.mark.parametrize("writer", [Int8, OpenVinoInt8])
def test_whole_numbers_are_stored_as_such(writer: type[Writer]) -> None:
    """Every matrix and the table of words: a quarter of the size, a scale a row, 7 bits where CPUs need them."""
    model = small_encoder("bert", "qa")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in export.token_major(model, {}, writer).graph.initializer}
    whole = [array for array in stored.values() if array.dtype == np.int8 and array.ndim == 2]
    kept = sum(linear.out_features * linear.in_features for linear in model.sites().values())
    assert sum(array.size for array in whole) == kept + model.embeddings.word.weight.numel()
    matrices = [array for array in whole if array.shape != tuple(model.embeddings.word.weight.shape)]
    assert max(int(np.abs(array.astype(int)).max()) for array in matrices) == (63 if writer is Int8 else 127)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_embeddings_narrower_than_the_stream_are_widened_in_both_forms(target: str) -> None:
    """By a map with a bias; where the widths are the same there is none."""
    dense = small_encoder("bert", "qa")
    assert "embeddings.projection" not in {node.name for node in export.channels_first(dense, target).graph.node}
    model = Encoder(replace(dense.config, embedding=40)).eval()
    assert model.embeddings.word.weight.shape == (400, 40)
    assert model.embeddings.projection is not None
    torch.nn.init.normal_(model.embeddings.projection.bias)
    for proto in (export.channels_first(model, target), export.fused(model)):
        for batch, length in LENGTHS:
            assert difference(model, proto.SerializeToString(), batch, length)[0] < 1e-4


def test_only_gathers_that_algebra_cannot_fold_remain() -> None:
    """Inside a layer orders fold into weights; only what meets the residual stream or repeats is gathered."""
    proto = export.channels_first(compact("bert", "qa", "hand"))
    left = sorted(n.name for n in proto.graph.node if n.op_type == "Gather" and n.name.startswith("layer."))
    assert left == [
        "layer.0.attention_output.gather",
        "layer.0.attention_output.scatter",
        "layer.0.ffn_in.gather",
        "layer.0.ffn_out.gather",
        "layer.0.ffn_out.scatter",
        "layer.0.key.gather",
        "layer.0.key.scatter",
        "layer.0.query.gather",
        "layer.0.value.gather",
        "layer.3.ffn_out.gather",
    ]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize("task", TASKS)
def test_a_nested_model_gathers_nothing(task: str, target: str) -> None:
    """Only tables and the first token; what reads a prefix has a slice, one for all that read as much of the same."""
    proto = export.channels_first(compact("bert", task, "hand nested"), target)
    gathers = {node.name for node in proto.graph.node if node.op_type == "Gather"}
    assert {name for name in gathers if name.startswith("layer.")} == ({"layer.3.first"} if task != "qa" else set())
    slices = [n.name for n in proto.graph.node if n.op_type == "Slice" and n.name.startswith("layer.0.")]
    assert slices == ["layer.0.channels.first.32", "layer.0.attention_norm.first.64"]
    assert "layer.0.ffn_channels" not in {node.name for node in proto.graph.node}  # token-major
    shapes = {t.name: tuple(t.dims) for t in proto.graph.initializer}
    assert shapes["layer.0.ffn_in.weight"] == (64, 120)
    assert max(shapes["layer.0.value.weight"]) == 36


def test_dropped_layers_are_gone_and_grouped_maps_are_one_convolution() -> None:
    """No node of a dropped layer, one Conv a map with its groups, no external data."""
    proto = export.channels_first(compact("bert", "qa", "hand"))
    names = [node.name for node in proto.graph.node]
    assert not any(name.startswith("layer.1.") for name in names)
    groups = {n.name: n.attribute for n in proto.graph.node if n.op_type == "Conv"}
    count = next(a.i for a in groups["layer.0.query"] if a.name == "group")
    assert count == 4
    assert not any(t.data_location for t in proto.graph.initializer)


def test_the_form_for_gpus_has_no_convolution() -> None:
    """Not in the last layer either, of which a classifier needs the first token alone."""
    for task in TASKS:
        proto = export.channels_first(compact("bert", task, "hand"), "gpu")
        assert "Conv" not in {node.op_type for node in proto.graph.node}


def test_dense_pruned_to_neurons_needs_no_gather() -> None:
    """With one group a matrix, what was permuted lies in the stored order of the weights."""
    model = compact("bert", "qa", "shared")
    proto = export.channels_first(model)
    indexed = sum(linear.in_index is not None for linear in model.sites().values())
    assert sum(n.op_type == "Gather" and n.name.startswith("layer.") for n in proto.graph.node) == indexed


def test_tables_that_float16_holds_are_stored_so() -> None:
    """Half the size, the same values."""
    model = small_encoder("bert", "qa")
    wide = len(export.channels_first(model).SerializeToString())
    with torch.no_grad():
        model.embeddings.word.weight.copy_(model.embeddings.word.weight.half().float())
    proto = export.channels_first(model)
    assert len(proto.SerializeToString()) < wide - 400 * 96
    assert difference(model, proto.SerializeToString(), 2, 11)[0] < 1e-4


def test_the_parity_gate_stops_a_wrong_graph() -> None:
    """A graph of other weights does not pass, and the error gives the difference."""
    model, other = small_encoder("bert", "classification"), small_encoder("bert", "classification", seed=5)
    features = [Features([5, 6, 7 + n], [0, 0, 0], None, n) for n in range(20)]
    parity = check_graph(model, export.channels_first(model).SerializeToString(), features)
    assert parity.inputs == parity.same_answers == 20
    assert parity.max_difference < 1e-4
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        check_graph(other, export.channels_first(model).SerializeToString(), features)


def test_each_input_with_the_same_answer_counts_once() -> None:
    """Those that also run alone do not make up for others whose answer is another."""
    model, other = small_encoder("bert", "classification"), small_encoder("bert", "classification", seed=5)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 96, (40, 3), generator=generator).tolist()
    features = [Features(row, [0, 0, 0], None, n) for n, row in enumerate(ids)]
    answers = [
        [int(logits.argmax()) for logits in run_all(torch_predictor(each), [one.tokens for one in features])]
        for each in (model, other)
    ]
    same = sum(a == b for a, b in zip(*answers, strict=True))
    assert 0 < same < len(features)
    parity = check_graph(other, export.channels_first(model).SerializeToString(), features, tolerance=1e6)
    assert parity.same_answers == same
