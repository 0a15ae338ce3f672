"""How much importance plans keep: by their structure, by the prices that they count, and by the order of the stream.

Plans of the SST-2 checkpoint at three sizes. Nothing is trained, and no row of the dev set is read. Importance is that
of `pgb compress` with its default number of rows.

    python -m benchmarks.importance
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks import script
from benchmarks.accuracy import prepare
from pgb_core.config.compress import CompressConfig
from pgb_core.machine import facts
from pgb_core.methods import steps
from pgb_core.plan import WRITING, Grouping, Plan, Site
from pgb_core.prices import table_of
from pgb_core.progress.report import Report
from pgb_core.run.cache import Cache
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace
from pgb_core.search import nested
from pgb_core.search.kept import importance_kept
from pgb_core.search.planning import Search, choose, make_menus
from pgb_core.search.prices import Prices

Importances = Mapping[Site, Tensor]
SIZES = (0.5, 0.25, 0.12)
STRUCTURES = ("auto", "shared", "nested", "disjoint")
PRICES = {  # by name: the form, and how much of its prices counts; None: the default of the form
    "int8": ("int8", None),
    "int8 in full": ("int8", 1.0),
    "fp32": ("fp32", None),
    "none": ("fp32", 0.0),
}


def _read_by(importances: Importances) -> dict[Site, Tensor]:
    """For each map that reads the stream: the importance of its channels, [hidden]."""
    return {site: values.double().sum(0) for site, values in importances.items() if site.role not in WRITING}


def _sorted(sums: Tensor) -> Tensor:
    return sums.argsort(descending=True, stable=True)


def _by_layer(importances: Importances) -> Tensor:
    layers: dict[int, Tensor] = {}
    for site, values in _read_by(importances).items():
        layers[site.layer] = layers.get(site.layer, torch.zeros_like(values)) + values
    return _sorted(torch.stack([values / values.sum() for values in layers.values()]).sum(0))


def _by_map(importances: Importances) -> Tensor:
    return _sorted(torch.stack([values / values.sum() for values in _read_by(importances).values()]).sum(0))


def _of_roots(importances: Importances) -> Tensor:
    return _sorted(torch.stack([values.sqrt() for values in _read_by(importances).values()]).sum(0))


def _with_writers(importances: Importances) -> Tensor:
    written = [values.double().sum(1) for site, values in importances.items() if site.role in WRITING]
    return _sorted(torch.stack([*_read_by(importances).values(), *written]).sum(0))


ORDERS: dict[str, Callable[[Importances], Tensor]] = {
    "the sum of all maps that read": nested.stream_order,
    "every layer counts the same": _by_layer,
    "every map counts the same": _by_map,
    "square roots": _of_roots,
    "with the rows of maps that write": _with_writers,
}


def scores(args: argparse.Namespace) -> tuple[Importances, int]:
    """The importance of every weight, [out, in] each, and the width of a head."""
    config = CompressConfig(
        checkpoint=str(args.models / "minilm-l6-sst2"),
        out=str(args.work / "planned"),
        task="classification",
        train=str(args.work / "sst2-train.tsv"),
    )
    run = Run.begin(config, Report(), Workspace(args.work).part("importance"), Shared(Cache(args.work / "cache")))
    return steps.scores(run, steps.scoring(run, False), False), run.dense.config.head_dim


def plans(importances: Importances, head_dim: int, structure: str, prices: Prices) -> dict[float, Plan]:
    """The plan of each size."""
    menus = make_menus(importances, head_dim, Search(prices, structure))
    return {keep: choose(menus, keep, "", head_dim) for keep in SIZES}


def described(plan: Plan, importances: Importances) -> dict[str, float]:
    """kept: share of the importance; maps: those with any weights; grouped: those in more than one group;
    partial: those that read a part of the stream.
    """
    left = {site: choice for site, choice in plan.choices.items() if choice.cost}
    partial = [
        isinstance(choice, Grouping) and len(choice.cols) < choice.shape[1]
        for site, choice in left.items()
        if site.role not in WRITING
    ]
    return {
        "kept": round(importance_kept(plan, importances), 4),
        "maps": len(left),
        "grouped": sum(isinstance(choice, Grouping) and len(choice.groups) > 1 for choice in left.values()),
        "partial": sum(partial),
    }


def main() -> None:
    """Make the plans and describe them."""
    parser = script.parser(__doc__, "importance", "models", "data")
    parser.add_argument("--work", type=Path, default=Path(".accuracy"), help="of benchmarks.accuracy [%(default)s]")
    args = parser.parse_args()
    prepare(args.data, args.work)
    importances, head_dim = scores(args)
    rows: dict[str, Any] = {}
    for structure in STRUCTURES:
        for name, (form, weight) in PRICES.items():
            made = plans(importances, head_dim, structure, table_of(form).counted(weight))
            rows[f"{structure}, {name}"] = {keep: described(plan, importances) for keep, plan in made.items()}
            print(structure, name, rows[f"{structure}, {name}"], flush=True)
    orders: dict[str, Any] = {}
    for name, order in ORDERS.items():
        for price, (form, weight) in PRICES.items():
            with patch.object(nested, "stream_order", order):
                made = plans(importances, head_dim, "nested", table_of(form).counted(weight))
            kept = {keep: round(importance_kept(plan, importances), 4) for keep, plan in made.items()}
            orders.setdefault(name, {})[price] = kept
            print(name, price, kept, flush=True)
    script.write(args.out, {"rows": rows, "orders": orders, "machine": facts()})


if __name__ == "__main__":
    main()
