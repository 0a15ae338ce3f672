"""Methods that train for int8: what they round, which layers they leave out, from end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError, PlanError
from pgb_core.export.forms import FORMS
from pgb_core.learn.aware import Aware, straight
from pgb_core.learn.curvature import curvature, largest_eigenvalue, sensitivity
from pgb_core.learn.finetune import Trainer
from pgb_core.learn.noise import BlockNoise, Noise, blocks
from pgb_core.learn.regime import Regime, Step
from pgb_core.methods.qbert import most_sensitive
from pgb_core.model.encoder import Encoder
from pgb_core.model.quantise import EVERYWHERE, even, rounded
from pgb_core.model.surgery import apply_plan
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site
from pgb_core.progress.report import Report
from pgb_core.tasks import TASKS
from pgb_core.tasks.features import Features, collate
from tests.conftest import small_encoder
from tests.core.planned import dense_plan, hand_plan
from tests.core.small import checkpoint, settings

STEP = Step(3, 10, 0, 1e-4)
NUMBERS = ("q8bert", "qbert", "quant-noise")


def inputs(count: int = 8) -> list[Features]:
    """Random inputs with labels."""
    g = torch.Generator().manual_seed(1)
    found = []
    for n in range(count):
        ids = torch.randint(5, 400, (6 + n % 5,), generator=g).tolist()
        found.append(Features(ids, [0] * len(ids), n % 2, n))
    return found


def logits(model: Encoder) -> Tensor:
    """Of these inputs."""
    batch = collate(inputs(), 0)
    return model(batch.input_ids, batch.attention_mask, batch.token_type_ids)


@contextmanager
def seen(regime: Regime, step: Step, model: Encoder) -> Iterator[dict[str, Tensor]]:
    """The parameters that a pass under a regime computes with."""
    with regime.applied(step):
        yield {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_rounding_passes_gradients_straight_through() -> None:
    """Values are the nearest whole numbers of the scale within 127 of them; the gradient is that of the input."""
    x = torch.linspace(-4, 4, 33, requires_grad=True)
    scale = torch.tensor(0.02)
    y = straight(x, scale)
    wanted = [min(127, max(-127, round(float(v) / 0.02))) * 0.02 for v in x.tolist()]
    torch.testing.assert_close(y, torch.tensor(wanted))
    y.square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * y.detach())
    assert not straight(torch.zeros(3), torch.zeros(())).any()


@pytest.mark.parametrize("block", [1, 5, 1000, 1 << 40])
def test_a_share_of_whole_blocks_is_drawn(block: int) -> None:
    """Within a block all weights are of one kind, the share is that which was asked for, the last may be shorter."""
    drawn = blocks(torch.zeros(400, 96), 0.3, block, torch.Generator().manual_seed(2))
    for start in range(0, 96, block):
        part = drawn[:, start : start + block]
        assert bool((part == part[:, :1]).all())
    counted = drawn[:, ::block].float()
    spread = 4 * (0.3 * 0.7 / counted.numel()) ** 0.5
    assert float(counted.mean()) == pytest.approx(0.3, abs=spread)


def test_noise_rounds_its_share_and_leaves_the_model_as_it_was() -> None:
    """The rest is exact, as are maps that stay in float32; a step draws the same again, and another one otherwise."""
    model = small_encoder("bert", "classification")
    sites = model.sites()
    sites[Site(1, Role.KEY)].exact = True
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    noise = BlockNoise(model, 0.5, 4)
    with seen(noise, STEP, model) as first:
        pass
    for name, old in before.items():
        assert torch.equal(model.get_parameter(name), old)
        if "layers" not in name or old.dim() < 2 or name.startswith("layers.1.attention.key"):
            assert torch.equal(first[name], old)
            continue
        changed = first[name] != old
        assert torch.equal(first[name][changed], rounded(old, EVERYWHERE)[changed])
        assert 0.4 < float(changed.float().mean()) < 0.6
    with seen(noise, STEP, model) as again, seen(noise, Step(4, 10, 0, 1e-4), model) as other:
        pass
    name = "layers.0.attention.query.weight"
    assert torch.equal(again[name], first[name])
    assert not torch.equal(other[name], first[name])


def test_noise_on_whole_maps_begins_late_and_is_drawn_by_the_step_alone() -> None:
    """A share of the maps is rounded in the last three tenths of the steps, and whole again afterwards."""
    model = small_encoder("bert", "classification")
    weights = {site: linear.get_parameter("weight") for site, linear in model.sites().items()}
    before = {site: weight.detach().clone() for site, weight in weights.items()}
    noise = Noise(model, 0.3)

    def noisy(number: int) -> set[Site]:
        with noise.applied(Step(number, 100, 7, 1e-4)):
            found = {site for site, weight in weights.items() if not torch.equal(weight, before[site])}
            assert all(torch.equal(weights[site], rounded(before[site], EVERYWHERE)) for site in found)
        assert all(torch.equal(weight, before[site]) for site, weight in weights.items())
        return found

    assert not noisy(0)
    assert not noisy(69)
    drawn = [noisy(number) for number in range(70, 100)]
    assert sum(map(len, drawn)) == pytest.approx(0.3 * 30 * len(weights), rel=0.25)
    assert noisy(70) == drawn[0] != drawn[1]


def test_training_computes_as_the_form_does() -> None:
    """Weights of 7 bits an output, evened where the stream is read; all maps but the exact ones read whole numbers."""
    model = small_encoder("bert", "classification")
    model.sites()[Site(0, Role.VALUE)].exact = True
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    aware = Aware(model, 0.5)
    read: dict[str, Tensor] = {}
    with aware.applied(STEP):
        logits(model)
    largest_before = dict(aware.state())
    handles = []
    with aware.applied(STEP):
        for site, linear in model.sites().items():
            handles.append(linear.register_forward_hook(lambda m, x, y, name=str(site): read.update({name: x[0]})))
        words = model.embeddings.word.weight
        torch.testing.assert_close(words, rounded(before["embeddings.word.weight"], 8))
        weight = model.layers[0].attention.query.weight  # type: ignore[union-attr]
        factors = even(largest_before["0.query"], before["layers.0.attention.query.weight"])
        torch.testing.assert_close(
            weight.detach(), rounded(before["layers.0.attention.query.weight"] * factors, EVERYWHERE) / factors
        )
        exact = model.layers[0].attention.value.weight  # type: ignore[union-attr]
        assert torch.equal(exact, before["layers.0.attention.value.weight"])
        logits(model)
    for handle in handles:
        handle.remove()
    assert "0.value" not in aware.state()
    after = aware.state()["0.query"]
    whole = read["0.query"] / factors / ((after / factors).max() / 127)
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-3)
    neurons = read["1.ffn_out"]
    whole = neurons / (neurons.abs().amax(-1, keepdim=True) / 127)
    torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-3)
    assert all(torch.equal(model.get_parameter(name), old) for name, old in before.items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_average_of_a_maximum_goes_on_where_it_was() -> None:
    """It begins with the first one, keeps its share of the old value, and is taken up again."""
    model = small_encoder("bert", "classification")
    aware, again = Aware(model, 0.75), Aware(model, 0.75)
    maxima: list[Tensor] = []
    kept = model.sites()[Site(0, Role.QUERY)].register_forward_pre_hook(
        lambda module, x: maxima.append(x[0].detach().abs().flatten(0, -2).amax(0))
    )
    with aware.applied(STEP):
        logits(model)
    torch.testing.assert_close(aware.state()["0.query"], maxima[0])
    again.restore({name: value.clone() for name, value in aware.state().items()})
    for one in (aware, again):
        with one.applied(STEP):
            logits(model)
    kept.remove()
    torch.testing.assert_close(aware.state()["0.query"], 0.75 * maxima[0] + 0.25 * maxima[1])
    assert all(torch.equal(value, again.state()[name]) for name, value in aware.state().items())


def test_every_kind_of_map_can_be_trained_for_int8() -> None:
    """Groups, prefixes, outputs in no group: all give gradients, and restore their weights."""
    model = small_encoder("bert", "classification")
    compact = apply_plan(model, hand_plan(model))
    aware = Aware(compact, 0.9)
    for _ in range(2):
        with aware.applied(STEP):
            logits(compact).square().sum().backward()
    for site, linear in compact.sites().items():
        for parameter in linear.parameters():
            assert parameter.grad is not None, site
            assert bool(parameter.grad.isfinite().all())


def test_the_eigenvalue_is_that_of_the_whole_hessian() -> None:
    """Against a decomposition, for a function of few weights; also when the largest one is negative."""
    g = torch.Generator().manual_seed(0)
    for sign in (1, -1):
        root = torch.randn(12, 12, generator=g)
        hessian = sign * (root @ root.T)
        x = torch.randn(3, 4, generator=g, requires_grad=True)
        loss = 0.5 * x.flatten() @ hessian @ x.flatten() + x.sum()
        (gradient,) = torch.autograd.grad(loss, [x], create_graph=True)
        values = torch.linalg.eigvalsh(hessian)
        wanted = float(values[values.abs().argmax()])
        assert largest_eigenvalue([x], [gradient], g) == pytest.approx(wanted, rel=0.05)


def test_curvature_is_that_of_finite_differences() -> None:
    """The second difference of the loss along the weights of a layer never exceeds it; the model stays as it was."""
    model = small_encoder("bert", "classification", num_hidden_layers=2)
    objective = TASKS["classification"].objective(None, 2)
    batch = collate(inputs(), 0)
    frozen = {name: p.requires_grad for name, p in model.named_parameters()}
    found = curvature(model, [batch, batch], objective, 0)
    assert sorted(found) == [0, 1]
    assert {name: p.requires_grad for name, p in model.named_parameters()} == frozen
    assert all(p.grad is None for p in model.parameters())
    for index, values in found.items():
        assert float(values[0]) == pytest.approx(float(values[1]), rel=0.05)  # of the same batch
        weights = [linear.weight for site, linear in model.sites().items() if site.layer == index]
        double = [w.detach().double() for w in weights]
        g = torch.Generator().manual_seed(3)
        way = [torch.randn(w.shape, generator=g, dtype=torch.float64) for w in weights]
        length = sum(float(v.square().sum()) for v in way) ** 0.5

        def loss(
            by: float, weights: Sequence[Tensor] = weights, double: list[Tensor] = double, way: list[Tensor] = way
        ) -> float:
            model.double()
            for weight, old, v in zip(weights, double, way, strict=True):
                weight.data = old + by * v
            out = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
            value = objective.loss(out, batch.targets, batch.attention_mask.bool())  # type: ignore[arg-type]
            return float(value.detach())

        step = 1e-3 / length
        second = (loss(step) - 2 * loss(0.0) + loss(-step)) / 1e-6
        model.float()
        assert abs(second) <= abs(float(values[0])) * 1.01
        assert float(values[0]) != 0


def test_sensitive_layers_are_those_of_large_or_uneven_curvature() -> None:
    """|mean| + deviation; their share is rounded up, and what a plan drops is not named."""
    assert sensitivity(torch.tensor([-3.0, -1.0])) == pytest.approx(3.0)
    assert sensitivity(torch.tensor([2.0])) == pytest.approx(2.0)
    model = small_encoder("bert", "classification")
    plan = hand_plan(model)
    values = {0: 1.0, 1: 9.0, 2: 8.0, 3: 2.0}
    assert most_sensitive(plan, values, 0.0) == frozenset()
    assert {site.layer for site in most_sensitive(plan, values, 0.25)} == {2}  # nothing is left of layer 1
    assert {site.layer for site in most_sensitive(plan, values, 0.3)} == {2, 3}
    assert {site.role for site in most_sensitive(plan, values, 0.25)} == set(list(Role)[:4])


@pytest.mark.parametrize("form", ["int8", "openvino-int8"])
def test_exact_maps_are_in_float32_in_the_graph(form: str) -> None:
    """A plan says which, and says so again when it is read; all other maps hold whole numbers."""
    model = small_encoder("bert", "classification")
    exact = frozenset({Site(0, Role.FFN_OUT), Site(1, Role.KEY), *(Site(2, role) for role in Role)})
    base = dense_plan(model)
    plan = Plan(base.checkpoint, base.head_dim, base.choices, exact=exact)
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(PlanError, match=r"7\.key is to be exact"):
        Plan(base.checkpoint, base.head_dim, base.choices, exact=frozenset({Site(7, Role.KEY)}))
    compact = apply_plan(model, plan)
    build = FORMS[form].build
    assert build is not None
    floats = [
        name
        for name, array in ((t.name, numpy_helper.to_array(t)) for t in build(compact, {}).graph.initializer)
        if array.ndim == 2 and array.dtype == np.float32 and name.startswith("layer")
    ]
    wanted = {"layer.0.ffn_out", "layer.1.key", "layer.2.query.together", "layer.2.attention_output"}
    assert {name.removesuffix(".weight") for name in floats} == wanted | {"layer.2.ffn_in", "layer.2.ffn_out"}


@pytest.mark.parametrize(("method", "keep"), [("q8bert", 1.0), ("qbert", 0.5), ("quant-noise", 1.0)])
def test_a_run_is_resumed_and_gives_an_artifact(
    method: str, keep: float, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with keep 1; a run that was stopped in the middle of its training gives the same graph."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    common: dict[str, object] = {"method": method, "keep": keep, "forms": ("fp32", "int8"), "epochs": 1.0, "threads": 1}
    compress(settings(model, tmp_path / "once", texts, **common))
    config = settings(model, tmp_path / "small", texts, **common)
    until_then = Trainer.run

    def stopped(trainer: Trainer, until: int | None = None, progress: Callable[[int, float], None] = print) -> None:
        if until != 3:
            raise KeyboardInterrupt
        until_then(trainer, until, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            compress(config)
    notes: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "note", notes.append)
    compress(config, told)
    assert any(note.startswith("taken over from a stopped run") and "finetuned" in note for note in notes)
    artifact = open_artifact(tmp_path / "small")
    graphs = [onnx.load(open_artifact(tmp_path / name).graph("fp32")) for name in ("once", "small")]
    assert graphs[0].graph.initializer == graphs[1].graph.initializer
    weights = artifact.manifest.weights
    assert weights["kept"] / weights["dense"] == pytest.approx(keep, abs=0.01)
    plan = Plan.from_json(artifact.plan.read_text("utf-8"))
    assert len({site.layer for site in plan.exact}) == (1 if method == "qbert" else 0)
    answer = pgb_core.load(str(tmp_path / "small"), form="int8")("a very good film")
    assert answer


@pytest.mark.parametrize("method", NUMBERS)
def test_data_is_needed_with_keep_1_too(method: str) -> None:
    """As there is training to do."""
    with pytest.raises(ConfigError, match="no data"):
        CompressConfig(checkpoint="c", out="o", method=method, keep=1.0)
