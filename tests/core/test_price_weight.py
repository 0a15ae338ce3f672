"""How much the run times of a form count in a plan, beside the number of weights."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from pgb_core.methods.planned import plan_stages, planned
from pgb_core.options import PGBOptions
from pgb_core.pipeline import compress
from pgb_core.plan import Site
from pgb_core.prices import FOLDER, table_of
from pgb_core.progress.report import Report
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import locked
from pgb_core.search import planning
from pgb_core.search.kept import importance_kept
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings

FORMS = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("form", FORMS)
def test_weights_count_in_full_and_the_rest_by_its_share(form: str) -> None:
    """Of every part, whatever the form."""
    prices, table = table_of(form).prices, table_of(form)
    assert prices.weighed(1.0) == prices
    half, none = asdict(prices.weighed(0.5)), prices.weighed(0.0)
    assert all(half[part] == (value if part == "tokens" else value / 2) for part, value in asdict(prices).items())
    assert none.of_blocks(2, 30, 20, 40) == 2 * 30 * 20
    assert table.counted() == prices.weighed(table.weight)
    assert table.counted(0.25) == prices.weighed(0.25)
    assert table.weight == (0.1 if form.endswith("int8") else 1.0)


def test_with_less_weight_more_importance_is_kept_in_as_many_weights() -> None:
    """int8's attention is dear: in full, its price takes the attention of layers whose importance is high."""
    model = small_encoder("bert", "classification")
    importances: dict[Site, torch.Tensor] = {}
    for n, (site, linear) in enumerate(sorted(model.sites().items(), key=lambda item: str(item[0]))):
        torch.manual_seed(n)
        importances[site] = torch.rand(linear.out_features, linear.in_features) ** 4
    found = {}
    for weight in (0.0, 1.0):
        prices = table_of("int8").prices.weighed(weight)
        menus = planning.make_menus(importances, model.config.head_dim, planning.Search(prices, passes=1))
        plan = planning.choose(menus, 0.5, "test", model.config.head_dim)
        found[weight] = importance_kept(plan, importances)
    assert found[0.0] > found[1.0]


@pytest.mark.slow
def test_the_option_reaches_the_plan(tmp_path: Path, texts: Path) -> None:
    """Another weight is another plan, and what is asked is in the manifest."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    plans = {}
    for weight in (None, 0.1, 1.0):
        asked = {} if weight is None else {"price_weight": weight}
        done = compress(settings(model, tmp_path / str(weight), texts, epochs=0.0, plan_for="int8", **asked))
        plans[weight] = done.manifest.plan_digest
        assert done.manifest.provenance["settings"]["price_weight"] == weight
    assert plans[None] == plans[0.1]
    assert plans[None] != plans[1.0]


def test_a_plan_names_the_prices_of_its_own_run(tmp_path: Path, texts: Path) -> None:
    """Also where it is kept from a run for another form, as prices that count nothing are the same for both."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, epochs=0.0, structure="nested", price_weight=0.0)
    with locked(Path(config.out)) as workspace:
        for form in ("int8", "openvino-int8"):
            run = Run.begin(config.model_copy(update={"plan_for": form}), Report(), workspace, Shared())
            options = run.options(PGBOptions)
            assert planned(run, options, plan_stages(run, options)).made_for == table_of(form).name
