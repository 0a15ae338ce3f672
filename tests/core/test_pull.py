"""How strong the pull toward old weights is where numbers ask for more than was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pgb_core.errors import PlanError
from pgb_core.model.linear.lstsq import Moments, centred, solve
from pgb_core.pipeline import compress
from pgb_core.search.pull import factored
from pgb_core.search.reconstruction import Surgery
from tests.core.small import checkpoint, settings
from tests.reports import Heard


def few_rows(tokens: int = 9, inputs: int = 40, size: float = 30.0) -> tuple[Tensor, Tensor]:
    """What a map reads of a few tokens, far from 0 in the mean, and what it is to give."""
    g = torch.Generator().manual_seed(3)
    x = size + torch.randn(tokens, inputs, generator=g)
    return x, torch.randn(tokens, 12, generator=g)


def test_a_pull_that_is_strong_enough_is_taken_as_it_is() -> None:
    """The factor is that of the covariance with the pull on its diagonal."""
    x = torch.randn(400, 24, dtype=torch.double)
    covariance = torch.cov(x.T)
    for ridge in (1e-2, 1e-9):
        factor, pull, taken = factored(covariance, ridge, 0.0)
        assert taken == ridge
        assert pull == pytest.approx(ridge * float(covariance.diagonal().mean()))
        assert torch.allclose(factor @ factor.T, covariance + pull * torch.eye(24, dtype=torch.double))


def test_a_pull_that_rounding_exceeds_is_made_stronger() -> None:
    """Until what is left of it is at least its half; also where variances are rounding alone, or 0."""
    x, y = few_rows()
    covariance = centred(Moments.of(x, y))[0]
    least = float(torch.linalg.eigvalsh(covariance)[0])
    assert least < 0
    _, pull, taken = factored(covariance, 1e-14, 1e-30)
    assert taken > 1e-14
    assert pull + least >= pull / 2 >= 0.05 * -least / 2
    for rounding in (-1e-9, 0.0):
        factor, _, _ = factored(torch.full((4, 4), rounding, dtype=torch.double), 1e-14, 1e-30)
        assert factor.isfinite().all()
    with pytest.raises(PlanError, match="not finite on some row"):
        factored(covariance * torch.nan, 1e-2, 0.0)


def test_a_fit_to_few_rows_stays_near_the_old_weights() -> None:
    """However small the pull that was asked for: its error is not above that of the old weights."""
    x, y = few_rows()
    old = torch.randn(12, 40, generator=torch.Generator().manual_seed(4))
    centre = y.mean(0) - x.mean(0) @ old.T
    before = float((y - x @ old.T - centre).square().sum())
    for ridge in (1e-14, 1e-2):
        weight, bias, taken = solve(Moments.of(x, y), old, ridge)
        after = float((y - x @ weight.T - bias).square().sum())
        assert after < before
        assert float((weight - old).abs().max()) < 10
        assert (taken > ridge) is (ridge == 1e-14)


def test_units_are_chosen_whatever_the_pull() -> None:
    """Among inputs that go together; the error that is told is of the pull that was taken."""
    x, y = few_rows()
    weight = torch.randn(6, 40, dtype=torch.double)
    surgery = Surgery(centred(Moments.of(x, y))[0], weight, 1e-14)
    assert surgery.ridge > 1e-14
    surgery.remove(30)
    assert len(surgery.left) == 10
    assert surgery.error >= 0


def test_a_ridge_that_is_too_small_is_told(tmp_path: Path, texts: Path) -> None:
    """By the compression, with the rows that it is too small for; heads and neurons are chosen, and all is solved."""
    model, rows = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "few.jsonl"
    rows.write_text("".join(f"{line}\n" for line in texts.read_text().splitlines()[:3]))
    told = Heard()
    given = {"structure": "nested", "units_by": "reconstruction", "ridge": 1e-14, "epochs": 0.0}
    compress(settings(model, tmp_path / "small", rows, **given), told)
    said = [text for text in told.warnings if text.startswith("--ridge 1e-14 is too small for 3 rows")]
    assert len(said) == 2  # of the choice, and of the compensation
    told = Heard()
    compress(settings(model, tmp_path / "usual", texts, **given | {"ridge": 0.01}), told)
    assert not any("--ridge" in text for text in told.warnings)
