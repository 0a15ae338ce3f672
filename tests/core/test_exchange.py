"""A plan corrected by measured losses: the search for exchanges, the losses of plans, and a run with both."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from pgb_core.artifact import open_artifact
from pgb_core.learn.trial import Trial
from pgb_core.methods.planned import parted
from pgb_core.model.blocks import attention_bias
from pgb_core.model.surgery import apply_plan
from pgb_core.pipeline import compress
from pgb_core.plan import ATTENTION, FEED_FORWARD, Plan, Site
from pgb_core.prices import prices_of
from pgb_core.search import menus, planning
from pgb_core.search.budget import Option, allocate
from pgb_core.search.exchange import corrected
from pgb_core.tasks.features import Features, batches
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings
from tests.core.test_held_back import Told
from tests.core.test_training import LABEL, features

Chosen = Sequence[Option[int]]
MENUS = [[Option(float(n), 2.0 * n, n**0.5, n) for n in range(33)] for _ in range(4)]
WORTH = (1.0, 1.0, 4.0, 0.5)  # of a unit in each sublayer; the menus say that all are alike


@dataclass
class Counted:
    """The loss of a choice: what is missing of each sublayer, as a power. seen: every choice, and None for settling."""

    worth: Sequence[float] = WORTH
    power: float = 2.0
    seen: list[list[int] | None] = field(default_factory=list)

    def loss(self, chosen: Chosen) -> float:
        """See Judge."""
        self.seen.append([option.recipe for option in chosen])
        return sum(w * (1 - o.cost / 32) ** self.power for w, o in zip(self.worth, chosen, strict=True))

    def settle(self) -> None:
        """See Judge."""
        self.seen.append(None)


def test_exchanges_lower_the_loss_within_the_budget_and_its_run_time() -> None:
    """The sublayer that matters more than its importance says ends larger, the others pay for it."""
    first = allocate(MENUS, 64)
    found = corrected(MENUS, first, 64, Counted(), Counted(), 300)
    assert [option.recipe for option in first] == [16] * 4
    assert found.kept >= 2
    assert found.after < 0.8 * found.before
    assert found.after == Counted().loss(found.chosen)
    assert 0.99 * 64 <= sum(option.cost for option in found.chosen) <= 64
    assert sum(option.price for option in found.chosen) <= sum(option.price for option in first)
    assert found.chosen[2].cost > 20 > 16 > found.chosen[3].cost


def test_exchanges_that_cannot_be_made_are_passed_over() -> None:
    """A sublayer that promises most, and has no larger option within the run time, does not end the search."""
    dear = [Option(float(n), 2.0 * n if n <= 16 else 1e6, n**0.5, n) for n in range(33)]
    every = [*MENUS, *MENUS[:2], dear]
    worth = (1.0, 1.0, 4.0, 0.5, 1.0, 1.0, 100.0)
    first = [menu[16] for menu in every]
    found = corrected(every, first, 7 * 16, Counted(worth), Counted(worth), 300)
    assert found.kept >= 1
    assert found.chosen[2].cost > 16
    assert found.chosen[6].cost == 16
    assert sum(option.price for option in found.chosen) <= sum(option.price for option in first)


def test_what_rows_propose_the_other_rows_have_to_agree_to() -> None:
    """Rows to which the opposite matters keep the plan as it was, whatever the first rows gain."""
    first = allocate(MENUS, 64)
    found = corrected(MENUS, first, 64, Counted(), Counted(worth=(1.0, 1.0, 0.5, 4.0)), 300)
    assert found.tried > 0
    assert found.kept == 0 or found.after < found.before
    assert found.chosen[2].cost <= 16
    against = corrected(MENUS, first, 64, Counted((0, 0, 1, 0)), Counted((1, 1, 0, 1)), 300)
    assert (against.kept, list(against.chosen), against.after) == (0, first, against.before)


@pytest.mark.parametrize("most", [2, 3, 10, 40])
def test_no_more_losses_are_measured_than_allowed(most: int) -> None:
    """Wherever it ends, the result is no worse than the beginning; the same again gives the same."""
    first = allocate(MENUS, 64)
    judges = Counted(), Counted()
    told: list[int] = []
    found = corrected(MENUS, first, 64, *judges, most, progress=lambda: told.append(1))
    measured = sum(one is not None for judge in judges for one in judge.seen)
    assert measured == len(told) == found.evaluations <= most
    assert found.after <= found.before
    assert corrected(MENUS, first, 64, Counted(), Counted(), most) == found


def test_it_stops_when_it_is_told_that_time_is_up() -> None:
    """With what it has found so far."""
    asked: list[int] = []

    def enough() -> bool:
        asked.append(1)
        return len(asked) > 15

    found = corrected(MENUS, allocate(MENUS, 64), 64, Counted(), Counted(), 300, enough)
    assert found.evaluations == 15
    assert found.after <= found.before


def test_a_choice_is_settled_on_when_both_kinds_of_rows_have_measured_it_last() -> None:
    """So what a judge keeps of its last choice is of the one that others will differ from."""
    judges = Counted(), Counted()
    found = corrected(MENUS, allocate(MENUS, 64), 64, *judges, 300)
    for judge in judges:
        settled = [judge.seen[n - 1] for n, one in enumerate(judge.seen) if one is None]
        assert len(settled) == 1 + found.kept
        assert settled[-1] == [option.recipe for option in found.chosen]


def test_halves_of_calibration_rows_share_no_row_and_keep_to_their_size() -> None:
    """All windows of a question are on one side."""
    every = [Features([1] * 10, [0] * 10, None, n) for n in range(50) for _ in range(1 + n % 2)]
    one, other = parted(every, 150)
    assert len(one) == len(other) == 15
    assert not {item.row for item in one} & {item.row for item in other}


@pytest.fixture(scope="module")
def planned() -> tuple[menus.Menu, menus.Menu, planning.Menus]:
    """Of a small model: the whole of every sublayer, a choice at half, and all menus."""
    model = small_encoder("bert", "classification")
    importances = {site: linear.to_dense().detach().square() for site, linear in model.sites().items()}
    found = planning.make_menus(importances, 16, planning.Search(prices_of("fp32"), passes=1))
    every = [menu for _, menu in found.sublayers]
    shapes = [{role: draft.shape for role, draft in menu[-1].recipe.items()} for menu in every]
    whole = [Option(0, 0.0, 0.0, {role: menus.Draft.whole(shape) for role, shape in one.items()}) for one in shapes]
    return whole, [menu[len(menu) // 2] for menu in every], found


def test_the_loss_of_a_plan_is_that_of_its_compact_model(planned: tuple[menus.Menu, menus.Menu, object]) -> None:
    """With means moved to the dense model's; nothing pruned loses nothing; the model is left as it was."""
    whole, half, _ = planned
    dense = small_encoder("bert", "classification")
    before = copy.deepcopy(dense.state_dict())
    data = list(batches(features(24), 150, 0))
    trial = Trial(dense, data, LABEL)
    assert trial.loss([option.recipe for option in whole]) == pytest.approx(0, abs=1e-6)
    found = trial.loss([option.recipe for option in half])
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())

    choices = {}
    for n, option in enumerate(half):
        assert set(option.recipe) == set((ATTENTION, FEED_FORWARD)[n % 2])
        choices |= {Site(n // 2, role): choice for role, choice in menus.chosen(option.recipe).items()}
    compact = apply_plan(dense, Plan("test", 16, choices))
    assert len(compact.layers) == 4
    masks = [batch.attention_mask for batch in data]
    theirs = ours = [dense.embeddings(batch.input_ids, batch.token_type_ids) for batch in data]
    total = torch.zeros(len(data))

    def mean(streams: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([x[mask.bool()] for x, mask in zip(streams, masks, strict=True)]).mean(0)

    with torch.no_grad():
        for goal, layer in zip(dense.layers, compact.layers, strict=True):
            for target, pruned in zip(goal.halves, layer.halves, strict=True):
                wanted = [target.added(x, attention_bias(mask)) for x, mask in zip(theirs, masks, strict=True)]
                given = [pruned.added(x, attention_bias(mask)) for x, mask in zip(ours, masks, strict=True)]
                theirs = [target.norm(x) for x in wanted]
                ours = [pruned.norm(x + mean(wanted) - mean(given)) for x in given]
            for n, mask in enumerate(masks):
                real = mask.bool()
                error = (ours[n][real] - theirs[n][real]).square().sum() / theirs[n][real].square().sum()
                total[n] += error / 4
        for n, mask in enumerate(masks):
            total[n] += LABEL.distil(dense.head(ours[n]), dense.head(theirs[n]), mask.bool())
    counts = torch.tensor([float(len(batch.input_ids)) for batch in data])
    assert found == pytest.approx(float((total * counts).sum() / counts.sum()), rel=1e-3)
    assert found > 1e-3


def test_a_loss_does_not_depend_on_what_is_kept_of_another(planned: tuple[menus.Menu, menus.Menu, object]) -> None:
    """From any settled plan to any other."""
    whole, half, _ = planned
    data = list(batches(features(12), 200, 0))
    dense = small_encoder("bert", "classification")
    ways = [[*half[:n], *whole[n:]] for n in (0, 3, 7)]
    ways.append([half[0], *whole[1:6], half[6], whole[7]])
    alone = [Trial(dense, data, LABEL).loss([option.recipe for option in way]) for way in ways]
    trial = Trial(dense, data, LABEL)
    for settled in ways:
        trial.loss([option.recipe for option in settled])
        trial.settle()
        assert [trial.loss([option.recipe for option in way]) for way in ways] == pytest.approx(alone, rel=1e-5)


def test_a_run_corrects_its_plan_and_says_so(tmp_path: Path, texts: Path) -> None:
    """Within the budget; the setting is in the manifest."""
    told = Told()
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = {"structure": "nested", "epochs": 0.0, "exchanges": 40, "samples": 60}
    done = compress(settings(model, tmp_path / "small", texts, **given), told)
    manifest = open_artifact(done.path).manifest
    assert manifest.provenance["settings"]["exchanges"] == 40
    assert abs(manifest.weights["kept"] / manifest.weights["dense"] - 0.4) <= 0.01
    assert sum(text.startswith("plan corrected: ") for text in told.said) == 1
