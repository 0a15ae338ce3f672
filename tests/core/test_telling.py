"""Scores by which nothing can be chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pgb_core.config import CompressConfig
from pgb_core.errors import PlanError
from pgb_core.pipeline import compress
from pgb_core.plan import Role, Site
from pgb_core.prices import table_of
from pgb_core.search import planning
from pgb_core.search.telling import check_telling
from tests.core.small import WORDS, checkpoint


def test_scores_that_are_all_0_or_not_finite_choose_nothing() -> None:
    """Whatever their number and size."""
    some = torch.zeros(3, 4)
    some[1, 2] = 1e-40
    check_telling([torch.zeros(2), some], "weight", "magnitude")
    check_telling([torch.tensor([-1.0, 1.0])], "head", "magnitude")
    for scores, said in (
        ([torch.zeros(2), torch.zeros(3, 4)], r"no weight matters to the loss: .* or --method magnitude"),
        ([torch.ones(2), torch.tensor([torch.nan])], "scores are not finite, so no weight can be chosen"),
        ([torch.tensor([torch.inf, -torch.inf])], "not finite"),
    ):
        with pytest.raises(PlanError, match=said):
            check_telling(scores, "weight", "magnitude")


@pytest.mark.parametrize("structure", ["auto", "shared", "disjoint", "nested"])
def test_a_plan_of_no_importance_is_refused(structure: str) -> None:
    """By every way to plan, as an error that says what to do."""
    shapes = dict.fromkeys(Role, (32, 32)) | {Role.FFN_IN: (64, 32), Role.FFN_OUT: (32, 64)}
    importances = {Site(0, role): torch.zeros(shape) for role, shape in shapes.items()}
    menus = planning.make_menus(importances, 16, planning.Search(table_of("fp32").counted(0.3), structure, 1, 2))
    with pytest.raises(PlanError, match="no weight matters to the loss"):
        planning.choose(menus, 0.5, "test", 16)


@pytest.mark.parametrize(
    ("method", "size", "said"),
    [
        ("pgb", 1e6, "no weight matters to the loss: the model is certain of every row"),
        ("pgb", 0, "or answers all of them alike; give more or harder rows, or --method magnitude"),
        ("pgb-paper", 1e6, "no weight matters"),
        ("michel", 1e6, "no head or neuron matters"),
        ("kovaleva", 0, "no attention matters"),
        ("qbert", 0, "no layer matters .* --method q8bert"),
    ],
)
def test_a_model_that_is_certain_of_every_row_is_told(method: str, size: float, said: str, tmp_path: Path) -> None:
    """By every method that scores by the loss; and again from what the stopped run kept."""
    model, rows = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "rows.txt"
    weights = load_file(model / "model.safetensors")
    weights["classifier.weight"] *= size
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    rows.write_text("".join(f"the {word} was {other}\n" for word in WORDS[:8] for other in WORDS[:8]))
    given = {"checkpoint": model, "calibrate": rows, "out": tmp_path / "small", "forms": "fp32", "epochs": 0.0}
    given |= {"method": method, "samples": 8, "keep": 1.0 if method == "qbert" else 0.9}
    for _ in range(2):
        with pytest.raises(PlanError, match=said):
            compress(CompressConfig(**given))
