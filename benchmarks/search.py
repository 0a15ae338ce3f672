"""How long the search for groups takes: real importance of a checkpoint, and a made-up BERT-base.

Importance of the checkpoint is that of its own predictions on texts. That of BERT-base is close to rank one and
heavy-tailed, as real ones are. Seconds of the processor and of the clock, for each structure.

    python -m benchmarks.search
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from benchmarks import script
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.data import TextRow, read_data
from pgb_core.learn import fisher
from pgb_core.machine import facts
from pgb_core.options import PGBOptions
from pgb_core.plan import Role, Site
from pgb_core.prices import table_of
from pgb_core.search import planning
from pgb_core.search.importance import importance
from pgb_core.search.kept import importance_kept
from pgb_core.tasks.classification import encode_texts
from pgb_core.tasks.features import batches

LAYERS, HIDDEN, NEURONS, HEAD_DIM = 12, 768, 3072, 64
SEED = 7


def checkpoint_importances(checkpoint: Path, texts: Path, samples: int) -> tuple[dict[Site, Tensor], int]:
    """Of a checkpoint on the first texts of a file, and the channels of its heads."""
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    rows = [row for row in read_data(texts, "texts").rows if isinstance(row, TextRow)][:samples]
    features = encode_texts(rows, [None] * len(rows), loaded.tokenizer, 128)
    scores = fisher.fisher(
        model, batches(features, 2048, model.config.pad_id), loaded.subject.objective, 0, from_predictions=True
    )
    sites = model.sites()
    found = {site: importance(sites[site].to_dense().detach(), values) for site, values in scores.items()}
    return found, model.config.head_dim


def base_importances() -> dict[Site, Tensor]:
    """Of the shape of BERT-base: rows and columns that matter, and noise."""
    g = torch.Generator().manual_seed(SEED)

    def line(size: int, spread: float) -> Tensor:
        return (spread * torch.randn(size, generator=g)).exp()

    found = {}
    for layer in range(LAYERS):
        inputs, neurons = line(HIDDEN, 1.0), line(NEURONS, 1.2)
        for role in Role:
            rows = neurons if role is Role.FFN_IN else line(HIDDEN, 0.8)
            cols = neurons if role is Role.FFN_OUT else inputs
            noise = line(rows.numel() * cols.numel(), 0.7).view(rows.numel(), cols.numel())
            found[Site(layer, role)] = torch.outer(rows, cols) * noise / (1 + 0.3 * layer)
    return found


def measure(importances: Mapping[Site, Tensor], head_dim: int, structure: str, keep: float) -> dict[str, float]:
    """Menus and one choice, and what it keeps."""
    clock, cpu = time.perf_counter(), time.process_time()
    menus = planning.make_menus(importances, head_dim, planning.Search(table_of("fp32").prices, structure))
    plan = planning.choose(menus, keep, "search", head_dim)
    return {
        "seconds": round(time.perf_counter() - clock, 2),
        "core_seconds": round(time.process_time() - cpu, 2),
        "options": sum(len(menu) for _, menu in menus.sublayers),
        "importance_kept": round(importance_kept(plan, importances), 6),
    }


def main() -> None:
    """Both models, every structure."""
    parser = script.parser(__doc__, "search")
    parser.add_argument("--checkpoint", type=Path, default=Path("../shared/models/minilm-l6-sst2"))
    parser.add_argument("--texts", type=Path, default=Path("../shared/data/glue/sst2/train.tsv"))
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--keep", type=float, default=0.5)
    args = parser.parse_args()
    models = {
        args.checkpoint.name: checkpoint_importances(args.checkpoint, args.texts, args.samples),
        "BERT-base shape": (base_importances(), HEAD_DIM),
    }
    result = {
        "machine": facts(),
        "torch": torch.__version__,
        "keep": args.keep,
        "rows": {
            name: {
                kind: measure(scores, head_dim, kind, args.keep)
                for kind in get_args(PGBOptions.model_fields["structure"].annotation)
            }
            for name, (scores, head_dim) in models.items()
        },
    }
    script.write(args.out, result)
    print(json.dumps(result["rows"], indent=1))


if __name__ == "__main__":
    main()
