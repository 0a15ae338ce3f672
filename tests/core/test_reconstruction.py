"""Heads and neurons by the error of what their sublayer writes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgb_core.artifact import open_artifact
from pgb_core.learn.moments import read_by_writers
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import apply_plan
from pgb_core.pipeline import compress
from pgb_core.plan import Keep, Plan, Role, Site, block
from pgb_core.prices import table_of
from pgb_core.search import planning, reconstruction
from pgb_core.search.reconstruction import Surgery, reselected
from pgb_core.tasks.features import batches
from tests.conftest import small_encoder
from tests.core.planned import hand_plan
from tests.core.small import checkpoint, settings
from tests.core.test_training import features
from tests.reports import Heard

RIDGE = 0.01


def case(inputs: int = 24, outputs: int = 10) -> tuple[Tensor, Tensor]:
    """Covariance of inputs that go together, and weights."""
    mixed = torch.randn(400, inputs, dtype=torch.double) @ torch.randn(inputs, inputs, dtype=torch.double)
    return torch.cov(mixed.T), torch.randn(outputs, inputs, dtype=torch.double)


def residual(moments: Tensor, weight: Tensor, left: Tensor) -> float:
    """Of the ridge solution over the inputs that are left: the error, and the pull toward the old weights."""
    pull = RIDGE * moments.diagonal().mean()
    pulled = moments + pull * torch.eye(len(moments), dtype=moments.dtype)
    solution = torch.zeros_like(weight)
    solution[:, left] = torch.linalg.solve(pulled[left][:, left], pulled[left] @ weight.T).T
    change = solution - weight
    return float((change @ pulled * change).sum())


@pytest.mark.parametrize(("width", "count"), [(1, 1), (1, 17), (4, 1), (4, 4)])
def test_the_error_is_that_of_fitting_what_is_left(width: int, count: int) -> None:
    """Summed over all removals, whatever their order and number."""
    moments, weight = case()
    surgery = Surgery(moments, weight, RIDGE)
    surgery.remove(count, width)
    assert len(surgery.left) == 24 - count * width
    assert surgery.error == pytest.approx(residual(moments, weight, surgery.left), rel=1e-6)


@pytest.mark.parametrize("width", [1, 4])
def test_each_removal_is_the_one_that_costs_least(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fitting what is left without each of the units; in blocks of removals as one by one."""
    moments, weight = case()
    left = list(range(24))
    for _ in range(4):
        units = [left[n : n + width] for n in range(0, len(left), width)]
        tried = [residual(moments, weight, torch.tensor([k for k in left if k not in unit])) for unit in units]
        worst = units[min(range(len(units)), key=tried.__getitem__)]
        left = [k for k in left if k not in worst]
    for size in (1, 3, 32):
        monkeypatch.setattr(reconstruction, "BLOCK", size)
        surgery = Surgery(moments, weight, RIDGE)
        surgery.remove(4, width)
        assert surgery.left.tolist() == left


def test_of_two_inputs_that_do_the_same_one_stays() -> None:
    """However large they are: the first to go costs nothing, and then the other is worth both."""
    moments = torch.eye(12, dtype=torch.double)
    moments[3, 7] = moments[7, 3] = 1.0
    weight = torch.ones(5, 12, dtype=torch.double)
    weight[:, [3, 7]] = 2.0
    surgery = Surgery(moments, weight, 1e-6)
    surgery.remove(1)
    assert surgery.error == pytest.approx(0, abs=1e-4)
    surgery.remove(10)
    assert len({3, 7} & set(surgery.left.tolist())) == 1


def test_inputs_that_do_not_go_together_go_by_weight_and_variance() -> None:
    """As plain pruning has it."""
    variance = torch.rand(200, dtype=torch.double)
    weight = torch.randn(6, 200, dtype=torch.double)
    surgery = Surgery(variance.diag(), weight, 1e-9)
    surgery.remove(120)
    wanted = (weight.square().sum(0) * variance).argsort()[120:].sort().values
    assert surgery.left.tolist() == wanted.tolist()


@pytest.mark.parametrize("least", [1, 3, 8])
def test_as_many_inputs_stay_of_each_part_as_asked(least: int) -> None:
    """Even if a part is worth nothing."""
    moments, weight = case(24)
    weight[:, :8] = 0.0
    surgery = Surgery(moments, weight, RIDGE)
    surgery.remove(3 * (8 - least), within=8, least=least)
    assert torch.bincount(surgery.left // 8).tolist() == [least] * 3
    with pytest.raises(ValueError, match="none may go"):
        surgery.remove(1, within=8, least=least)


def planned(model: Encoder, structure: str) -> tuple[Plan, dict[Site, Tensor]]:
    """A plan of half the weights by importance, and the importances."""
    importances = {site: linear.to_dense().detach().square() for site, linear in model.sites().items()}
    found = planning.make_menus(importances, 16, planning.Search(table_of("int8").counted(), structure, passes=1))
    return planning.choose(found, 0.5, "test", 16), importances


@pytest.mark.parametrize("structure", ["nested", "shared"])
def test_as_much_stays_of_every_map_and_sublayers_err_less(structure: str) -> None:
    """The plan still fits the model; each sublayer's best fit is nearer than with the choice by importance."""
    model = small_encoder("bert", "classification")
    plan, importances = planned(model, structure)
    moments = read_by_writers(model, list(batches(features(60), 200, 0)))
    weights = {site: model.sites()[site].to_dense().detach() for site in moments}
    found, changed, _ = reselected(plan, importances, moments, weights, RIDGE)
    assert changed >= 2
    assert found.stream == plan.stream
    for site, choice in plan.choices.items():
        assert found.choices[site].cost == choice.cost
        assert found.choices[site].described == choice.described
    apply_plan(model, found)
    errors = torch.zeros(2, dtype=torch.double)
    for site, covariance in moments.items():
        for n, one in enumerate((plan, found)):
            errors[n] += residual(
                covariance, weights[site].double(), torch.tensor(list(one.choices[site].cols), dtype=torch.long)
            )
    assert float(errors[1]) < 0.99 * float(errors[0])


def test_a_head_that_comes_in_has_its_channels_of_most_importance_and_others_keep_theirs() -> None:
    """Over the columns that the plan reads, in its order of the stream."""
    g, shape = torch.Generator().manual_seed(0), (16, 16)
    importances = {Site(0, role): torch.rand(shape, generator=g) for role in Role}
    scored, read = (0, 1, 6, 7), tuple(range(8))  # two of the four channels of heads 0 and 1
    blocks = {role: block(scored, read, shape) for role in (Role.QUERY, Role.KEY)}
    blocks |= {Role.VALUE: block(range(8), read, shape), Role.ATTENTION_OUTPUT: block(range(16), range(8), shape)}
    choices = {Site(0, role): blocks.get(role, Keep(shape)) for role in Role}
    stream = tuple(torch.randperm(16, generator=g).tolist())
    variance = torch.tensor([1e-3, 1.0, 1e-3, 2.0]).repeat_interleave(4).diag()  # of what each head gives
    writers = {Site(0, role): torch.ones(shape) for role in (Role.ATTENTION_OUTPUT, Role.FFN_OUT)}
    moments = dict.fromkeys(writers, variance)
    found, changed, _ = reselected(Plan("test", 4, choices, stream), importances, moments, writers, RIDGE)
    columns = [stream[n] for n in read]
    sums = torch.stack([importances[Site(0, role)][12:, columns].sum(1) for role in (Role.QUERY, Role.KEY)]).sum(0)
    best = sorted(12 + n for n in sums.topk(2).indices.tolist())
    assert [list(found.choices[Site(0, role)].rows) for role in (Role.QUERY, Role.KEY)] == [[6, 7, *best]] * 2
    assert list(found.choices[Site(0, Role.VALUE)].rows) == [*range(4, 8), *range(12, 16)]
    assert changed == 1


def test_groups_whole_sublayers_and_dropped_ones_stay_as_they_are() -> None:
    """There is nothing to choose in them, or no choice that keeps their groups."""
    model = small_encoder("bert", "classification")
    plan = hand_plan(model)
    moments = read_by_writers(model, list(batches(features(12), 200, 0)))
    weights = {site: model.sites()[site].to_dense().detach() for site in moments}
    assert isinstance(plan.choices[Site(2, Role.VALUE)], Keep)
    found, changed, _ = reselected(plan, weights, moments, weights, RIDGE)
    assert (found, changed) == (plan, 0)


def test_moments_are_those_of_what_the_maps_read() -> None:
    """Padding does not count, and batches do not matter."""
    model = small_encoder("roberta", "classification")
    data = features(20)
    found = read_by_writers(model, list(batches(data, 60, 1)))
    read: dict[Site, list[Tensor]] = {site: [] for site in found}
    sites = model.sites()
    for site in found:
        sites[site].register_forward_pre_hook(lambda module, given, site=site: read[site].append(given[0][0]))
    with torch.no_grad():
        for batch in (batch for item in data for batch in batches([item], 60, 1)):
            model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
    assert len(found) == 8
    for site, covariance in found.items():
        wanted = torch.cov(torch.cat(read[site]).double().T, correction=0)
        torch.testing.assert_close(covariance, wanted, rtol=1e-3, atol=1e-4 * float(wanted.diagonal().mean()))


def test_a_run_chooses_by_reconstruction_and_says_so(tmp_path: Path, texts: Path) -> None:
    """The setting is in the manifest, and the budget is met."""
    told = Heard()
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = {"structure": "nested", "epochs": 0.0, "units_by": "reconstruction"}
    done = compress(settings(model, tmp_path / "small", texts, **given), told)
    manifest = open_artifact(done.path).manifest
    assert manifest.provenance["settings"]["units_by"] == "reconstruction"
    assert abs(manifest.weights["kept"] / manifest.weights["dense"] - 0.4) <= 0.01
    assert sum(text.startswith("heads and neurons by reconstruction: ") for text in told.said) == 1
