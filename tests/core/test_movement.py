"""Movement pruning: how scores learn, what they keep, from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.errors import ConfigError
from pgb_core.learn.movement import THRESHOLD, Hard, Movement, Soft, WholeUnits, rate_for
from pgb_core.learn.regime import Step
from pgb_core.model.encoder import Encoder
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, Role, Site
from pgb_core.progress.report import Report
from pgb_core.search.units import choices, fitting, ranks
from tests.conftest import small_encoder
from tests.core.small import checkpoint, resumed, settings
from tests.core.trained import assert_resumed_the_same, trained

IDS = torch.arange(5, 25).view(2, 10)
LATE = Step(9, 10, 0, 1e-3)


def regime(structure: str, model: Encoder, keep: float = 0.3, rate: float = 0.1) -> WholeUnits | Hard:
    """As the method makes it."""
    if structure == "units":
        return WholeUnits(model, keep, rate, 0)
    return Hard(model, keep, rate) if structure == "hard" else Soft(model, keep, rate)


def randomised(found: Movement) -> None:
    """Scores that are not all equal."""
    with torch.no_grad():
        for score in found.scores.values():
            score.normal_(std=4)


@pytest.mark.parametrize("structure", ["hard", "soft"])
def test_the_gradient_of_a_score_is_that_of_its_mask(structure: str) -> None:
    """By finite differences: of weights that are masked and of those that are not."""
    model = small_encoder("bert", "classification").double()
    found = regime(structure, model)
    randomised(found)
    masks = found.masks(LATE)
    with found.applied(LATE):
        model(IDS).square().sum().backward()
    found.graded(LATE)

    def loss(site: Site, row: int, col: int, by: float) -> float:
        shares = {one: mask.double() for one, mask in masks.items()}
        shares[site][row, col] += by
        weights = {one: linear.get_parameter("weight") for one, linear in model.sites().items()}
        whole = {one: weight.data for one, weight in weights.items()}
        for one, share in shares.items():
            weights[one].data = whole[one] * share
        with torch.no_grad():
            value = float(model(IDS).square().sum())
        for one, data in whole.items():
            weights[one].data = data
        return value

    seen = set()
    for site in (Site(0, Role.QUERY), Site(1, Role.ATTENTION_OUTPUT), Site(2, Role.FFN_IN), Site(3, Role.FFN_OUT)):
        for row, col in ((0, 0), (3, 7), (20, 11)):
            slope = (loss(site, row, col, 1e-4) - loss(site, row, col, -1e-4)) / 2e-4
            grad = found.scores[site].grad
            assert grad is not None
            assert float(grad[row, col]) == pytest.approx(slope, rel=1e-4, abs=1e-8)
            seen.add(bool(masks[site][row, col]))
    assert seen == {True, False}


def test_the_gradient_of_a_block_is_the_sum_over_its_weights() -> None:
    """Those of a head's output columns together are the derivative by a factor on what the head gives."""
    model = small_encoder("bert", "classification")
    found = regime("units", model)
    randomised(found)
    gates = torch.ones(model.config.heads, requires_grad=True)
    output = model.layers[1].maps()[Role.ATTENTION_OUTPUT]
    hook = output.register_forward_pre_hook(lambda _, x: (x[0] * gates.repeat_interleave(model.config.head_dim),))
    first = Step(0, 10, 0, 1e-3)  # nothing is masked yet
    with found.applied(first):
        model(IDS).square().sum().backward()
    hook.remove()
    found.graded(first)
    score = found.scores[Site(1, Role.ATTENTION_OUTPUT)]
    assert score.grad is not None
    assert score.shape == (model.config.heads, 1, 3)  # heads of 16 channels, 96 outputs: three blocks of 32
    torch.testing.assert_close(score.grad.sum((1, 2)), gates.grad, rtol=1e-3, atol=1e-5)
    weight = model.layers[2].maps()[Role.FFN_IN].get_parameter("weight")
    assert weight.grad is not None
    neurons = found.scores[Site(2, Role.FFN_IN)].grad
    torch.testing.assert_close(neurons, (weight.grad * weight.detach()).sum(1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("structure", ["units", "hard", "soft"])
def test_scores_are_resumed(structure: str) -> None:
    """With their optimiser, and the strength of the penalty."""
    assert_resumed_the_same(lambda model: regime(structure, model))


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.77])
def test_the_share_that_is_asked_for_stays(keep: float) -> None:
    """Of every matrix in `hard`, of all weights in `soft`, of heads and of neurons in `units`."""
    model = small_encoder("bert", "classification")
    hard, soft, whole = (regime(structure, model, keep) for structure in ("hard", "soft", "units"))
    for one in (hard, soft, whole):
        randomised(one)
    assert isinstance(hard, Hard)
    assert isinstance(soft, Soft)
    assert isinstance(whole, WholeUnits)
    for mask in hard.left(keep).values():
        assert int(mask.sum()) == int(keep * mask.numel())
    masks = soft.left(keep)
    least = min(float(soft.scores[site].detach()[mask].min()) for site, mask in masks.items())
    assert all(float(soft.scores[site].detach()[~mask].max()) <= least for site, mask in masks.items())
    weights = {site: linear.to_dense().detach() for site, linear in model.sites().items()}
    assert sum(int(mask.sum()) for mask in masks.values()) == int(keep * sum(map(torch.Tensor.numel, weights.values())))
    sizes = model.config.sizes()
    left = fitting(ranks(whole.worth()), sizes, keep)
    plan = Plan("test", sizes.head_dim, choices(left, sizes))
    assert plan.cost / plan.dense_cost == pytest.approx(keep, abs=0.01)
    assert float(left.heads.float().mean()) == pytest.approx(keep, abs=0.05)


def test_the_penalty_follows_what_is_kept() -> None:
    """It is the mean sigmoid; it grows while too many scores are above the threshold, and never masks too much."""
    model = small_encoder("bert", "classification")
    found = Soft(model, 0.3, 0.1)
    before = found.strength
    assert float(found.penalty(LATE).detach()) == pytest.approx(before * 0.5)
    assert found.above() == 1
    found.stepped(LATE)
    assert found.strength > before
    randomised(found)
    with torch.no_grad():
        for score in found.scores.values():
            score.sub_(20)
    assert found.above() < 0.3
    kept = found.masks(LATE)
    total = sum(mask.numel() for mask in kept.values())
    assert sum(int(mask.sum()) for mask in kept.values()) == int(0.3 * total)
    strong = found.strength
    found.stepped(LATE)
    assert found.strength < strong
    with torch.no_grad():
        for score in found.scores.values():
            score.normal_(std=4)
    assert all(torch.equal(mask, found.scores[site].sigmoid() > THRESHOLD) for site, mask in found.masks(LATE).items())


def test_soft_scores_reach_the_budget_in_a_short_training() -> None:
    """About: the strength is found on the way."""
    done = trained(lambda model: Soft(model, 0.3, rate_for(trained(lambda m: Hard(m, 0.3, 0.1), 0).steps)))
    found = done.regimes[0]
    assert isinstance(found, Soft)
    assert 0.15 < found.above() < 0.6
    assert rate_for(1_000_000) == 1e-2


@pytest.mark.parametrize("structure", ["units", "soft"])
def test_a_run_is_resumed_and_gives_an_artifact(structure: str, tmp_path: Path, texts: Path) -> None:
    """Within the budget; the model answers; the scores are taken over with the weights."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="movement", structure=structure)
    _, heard = resumed(config, "pgb_core.methods.steps.shape.finished")
    assert "taken over from a stopped run: plan, shaped" in heard.notes
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.4, abs=0.01)
    with pgb_core.load(tmp_path / "small", "fp32", threads=1) as loaded:
        assert sum(found["score"] for found in loaded("the film was very good", top_k=2)) == pytest.approx(1)


def test_scores_need_training() -> None:
    """Refused before anything is read, with the remedy."""
    with pytest.raises(ConfigError, match="epochs 0: movement needs training to choose what to keep; use more"):
        settings(Path("m"), Path("o"), Path("t"), method="movement", epochs=0.0)
    settings(Path("m"), Path("o"), Path("t"), method="magnitude", epochs=0.0)
    with pytest.raises(ConfigError, match="its graph is dense; use --budget weights"):
        settings(Path("m"), Path("o"), Path("t"), method="movement", structure="soft", budget="flops")


def test_units_that_do_not_fit_are_told(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the largest unit is larger than what is left of the budget, less stays, and a warning says how much."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=1, intermediate_size=4)
    warnings: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "warn", warnings.append)
    compress(settings(model, tmp_path / "small", texts, method="movement", epochs=1.0), told)
    weights = open_artifact(tmp_path / "small").manifest.weights
    said = f"{weights['kept'] / weights['dense']:.1%} of the weights are kept where 40.0% was asked"
    assert weights["kept"] / weights["dense"] < 0.39
    assert any(warning.startswith(said) for warning in warnings)
