"""The pull toward old weights by which second moments can be solved: as strong as asked, or stronger where numbers ask
for it.

Moments are sums of float32 products. Where inputs go together, or rows are few, their smallest eigenvalues are rounding
alone, and may be below 0. A pull that is no larger than that would be lost in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pgb_core.errors import PlanError

STRONGER = 10.0
_TRIES = 40  # from the smallest ridge there may be, to one that leaves all as it is
_LEAST = 1e-20


def factored(covariance: Tensor, ridge: float, floor: float) -> tuple[Tensor, float, float]:
    """The Cholesky factor of a covariance [in, in], in float64, with a pull on its diagonal; the pull; and its ridge.

    ridge: the pull as a share of the mean variance. It is ten times as strong, and again, until the smallest eigenvalue
    is half of it or more. floor: of the pull. Raises PlanError where the covariance is not finite.
    """
    if not bool(covariance.isfinite().all()):
        raise PlanError(
            "what a map reads is not finite on some row, so nothing can be fitted to it: the model's numbers are too "
            "large there; give other rows"
        )
    variance = float(covariance.diagonal().abs().mean())
    eye = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    for _ in range(_TRIES):
        pull = ridge * variance + floor
        sound = not int(torch.linalg.cholesky_ex(covariance + 0.5 * pull * eye).info)
        factor, info = torch.linalg.cholesky_ex(covariance + pull * eye)
        if sound and not int(info):
            return factor, pull, ridge
        ridge = max(STRONGER * ridge, _LEAST)
    raise PlanError(f"what a map reads cannot be fitted, not even with --ridge {ridge:g}; give more rows")


def stronger(asked: float, taken: float, rows: int) -> str:
    """What to tell where a ridge was taken that is larger than the one asked for."""
    return (
        f"--ridge {asked:g} is too small for {rows:,} rows: what some maps read goes together there, so up to "
        f"{taken:g} was taken. Give more rows, or a larger --ridge"
    )
