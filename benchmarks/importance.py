"""How much importance a plan keeps."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pgb_core.plan import Grouping, Plan, Site


def importance_kept(plan: Plan, importances: Mapping[Site, Tensor]) -> float:
    """Share of all importance that lies in kept weights."""
    kept = 0.0
    for site, matrix in importances.items():
        choice = plan.choices[site]
        blocks = (
            [(b.rows, b.cols) for b in choice.groups] if isinstance(choice, Grouping) else [(choice.rows, choice.cols)]
        )
        kept += sum(float(matrix[list(rows)][:, list(cols)].sum()) for rows, cols in blocks)
    return kept / max(1e-30, sum(float(matrix.sum()) for matrix in importances.values()))
