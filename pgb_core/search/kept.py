"""How much importance a plan keeps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pgb_core.plan import Grouping, Plan, Site
from pgb_core.search.nested import in_order


def importance_kept(plan: Plan, importances: Mapping[Site, Tensor]) -> float:
    """Share of all importance that lies in kept weights; of a plan that keeps rows and columns, or groups of them.

    importances: [out, in] each, in the order of the dense model.
    """
    kept = 0.0
    for site, values in importances.items():
        choice = plan.choices[site]
        matrix = values if plan.stream is None else in_order(values, site.role, torch.tensor(plan.stream))
        blocks = (
            [(b.rows, b.cols) for b in choice.groups] if isinstance(choice, Grouping) else [(choice.rows, choice.cols)]
        )
        kept += sum(float(matrix[list(rows)][:, list(cols)].sum()) for rows, cols in blocks)
    return kept / max(1e-30, sum(float(matrix.sum()) for matrix in importances.values()))
