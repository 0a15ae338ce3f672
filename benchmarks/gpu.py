"""What the forms for a GPU give on one: logits, accuracy, and speed against the dense model in every such form.

First, each form of an artifact runs its own check on the GPU, and labels a dev set; answers are held against those of
the fp32 form on the CPU. Then BERT-base shapes are timed as `benchmarks.encoder_speed` times them on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from benchmarks import script
from benchmarks.accuracy import dev_scores, difference
from benchmarks.encoder_speed import against, best, dense_plan
from benchmarks.random_models import BASE, artifact_of, kept_share, real_importance
from pgb_core.artifact import FP32, open_artifact
from pgb_core.inference.load import Loaded, load
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.inference.runtimes.selfcheck import self_check
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, Timed
from pgb_core.measure.comparison import DENSE_FORMS
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder
from pgb_core.prices import table_of
from pgb_core.search import planning

SHAPES: tuple[Shape, ...] = ((1, 32), (1, 128), (8, 128), (32, 128), (1, 384))
FORMS = ("fp32", "gpu", "torch", "torch-bf16")


def right(path: Path, task: str, data: Path) -> dict[str, Any]:
    """Of each form of an artifact that runs on a GPU: how far its check is off, and what it loses on the dev set."""
    artifact = open_artifact(path)
    with load(path, FP32) as loaded:
        whole = dev_scores(loaded, task, data)
    found: dict[str, Any] = {"fp32 on the CPU": {"score": round(float(whole.mean()), 3), "rows": len(whole)}}
    for form, record in artifact.manifest.forms.items():
        if "cuda" not in record.devices:
            continue
        runtime = open_runtime(artifact, form, "cuda")
        off = self_check(runtime, artifact, form)
        with Loaded(artifact, runtime) as loaded:
            scores = dev_scores(loaded, task, data)
        found[form] = {
            "check is off by": float(f"{off:.2g}"),
            "score": round(float(scores.mean()), 3),
            "to fp32 on the CPU": difference(whole, scores),
        }
        print(form, found[form], flush=True)
    return found


def speed(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Milliseconds and ratios of BERT-base shapes."""
    torch.manual_seed(0)
    importances = real_importance(args.models / "minilm-l6-sst2", args.data / "glue/sst2/train.tsv", 256)
    dense = Encoder(BASE).eval()
    table = table_of("int8")
    menus = planning.make_menus(importances, BASE.head_dim, planning.Search(table.counted(), "auto", passes=3))
    plans = {"dense": dense_plan(dense)}
    plans |= {f"{keep:g}": planning.choose(menus, keep, "random", BASE.head_dim) for keep in args.keep}
    made = {}
    for name, plan in plans.items():
        forms = DENSE_FORMS["cuda"] if name == "dense" else FORMS
        made[name] = artifact_of(surgery.apply_plan(dense, plan).eval(), plan, forms, folder / name)
    jobs = {
        f"{name}, {form}": Timed(artifact.path, form, "cuda")
        for name, artifact in made.items()
        for form in artifact.manifest.forms
    }
    measured = bench.time_in_turns(jobs, SHAPES, usable_cores(), args.seconds)
    whole = [name for name in jobs if name.startswith("dense,")]
    return {
        "busy": measured.busy,
        "plans made for": table.name,
        "fastest dense": {f"{b}x{s}": best(measured.timings, whole, (b, s)) for b, s in SHAPES},
        "importance_kept": {name: kept_share(plan, importances) for name, plan in plans.items()},
        "rows": {
            name: {
                "milliseconds": {f"{b}x{s}": round(measured.timings[name].minimum((b, s)), 3) for b, s in SHAPES},
                **against(measured.timings, name, whole, SHAPES),
            }
            for name in jobs
        },
    }


def main() -> None:
    """Run both, write both."""
    parser = script.parser(__doc__, "gpu", "models", "data")
    parser.add_argument("artifact", type=Path, help="of SST-2, in the forms that are to be tried")
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.25])
    parser.add_argument("--seconds", type=float, default=1, help="of each model and shape, in short turns")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "machine": {**facts(), "gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda},
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "right": right(args.artifact, "sst2", args.data),
    }
    script.write(args.out, result)
    with tempfile.TemporaryDirectory() as folder:
        result["speed"] = speed(args, Path(folder))
    script.write(args.out, result)
    for name, row in result["speed"]["rows"].items():
        print(f"{name:20}", row["milliseconds"], row["times the fastest dense"], row["geometric mean"])


if __name__ == "__main__":
    main()
