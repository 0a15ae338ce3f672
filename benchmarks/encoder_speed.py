"""How fast a pruned BERT-base runs in every form, against the dense model in every form.

Shapes are BERT-base's (12 layers, 768, 12 heads, 3072), weights random. What is kept follows real importance: the
scores of a fine-tuned 6-layer checkpoint, each layer used twice and each entry stretched to the larger shape, go
through the ordinary planner by the prices of the int8 form. Every model runs in a process of its own, as the service
runs it, and processes take short turns; milliseconds are of the best turn, ratios of neighbouring ones.

Where NNCF is installed (`pip install nncf`), the dense model as it quantises it is timed too.

The head is a span head, so no model is excused from computing all tokens of its last layer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from benchmarks import script
from benchmarks.random_models import BASE, artifact_of, by_nncf, kept_share, real_importance
from pgb_core.artifact import GRAPH, Artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.onnx_runtime import session_options
from pgb_core.inference.runtimes.registry import open_runtime, version_of
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Measured, Shape, Timed, Timing, random_feed
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Plan, Site, flops
from pgb_core.prices import table_of
from pgb_core.search import planning

SHAPES: tuple[Shape, ...] = ((1, 32), (1, 128), (8, 128), (1, 384))
FORMS = ("fp32", "int8", "openvino", "openvino-int8")
DENSE = ("fused", *FORMS)
PROFILED: Shape = (1, 128)
NNCF = "dense by NNCF, openvino-int8"


def dense_plan(model: Encoder) -> Plan:
    """Everything stays."""
    return Plan.whole("random", BASE.head_dim, model.shapes())


def breakdown(path: Path, shape: Shape, threads: int, runs: int = 20, least: float = 0.005) -> dict[str, float]:
    """Milliseconds by operator in ONNX Runtime, the best of the runs; those below the share `least` are left out."""
    with tempfile.TemporaryDirectory() as folder:
        options = session_options(threads, spinning=True)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = random_feed([i.name for i in session.get_inputs()], shape)
        for _ in range(runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and "op_name" in event.get("args", {}):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"] / 1e3)
    spent: dict[str, float] = defaultdict(float)
    for (kind, _), times in nodes.items():
        spent[kind] += min(times)
    total = sum(spent.values())
    return {name: round(t, 3) for name, t in sorted(spent.items(), key=lambda i: -i[1]) if t > least * total}


def gathers_per_layer(path: Path) -> float:
    """Gathers that are left in the encoder, a layer that is left."""
    nodes = onnx.load(path).graph.node
    names = [n.name for n in nodes if n.op_type == "Gather" and n.name.startswith("layer.")]
    layers = {n.name.split(".")[1] for n in nodes if n.name.startswith("layer.")}
    return round(len(names) / max(1, len(layers)), 2)


def runnable(artifact: Artifact, forms: tuple[str, ...]) -> list[str]:
    """The forms that open here."""
    found = []
    for form in forms:
        try:
            open_runtime(artifact, form, "cpu", 1).close()
        except RuntimeUnavailable as error:
            print(f"left out: {form} ({error})")
        else:
            found.append(form)
    return found


def best(timings: dict[str, Timing], names: list[str], shape: Shape) -> str:
    """The name with the best turn."""
    return min(names, key=lambda name: timings[name].minimum(shape))


def against(
    timings: dict[str, Timing], name: str, dense: list[str], shapes: tuple[Shape, ...] = SHAPES
) -> dict[str, Any]:
    """Ratios of one model to the fastest dense form of each shape, their spread, and their geometric mean."""
    ratios, spread = {}, {}
    for b, s in shapes:
        fastest = timings[best(timings, dense, (b, s))]
        ratios[f"{b}x{s}"] = round(timings[name].ratio(fastest, (b, s)), 3)
        spread[f"{b}x{s}"] = [round(n, 3) for n in timings[name].ratio_range(fastest, (b, s))]
    mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
    return {"times the fastest dense": ratios, "eight of ten within": spread, "geometric mean": round(mean, 3)}


@dataclass(frozen=True)
class Model:
    """A model that is timed. layers: that are left of it. importance: the share of it that is kept."""

    artifact: Artifact
    plan: Plan
    layers: int
    importance: float


def models(
    args: argparse.Namespace, dense: Encoder, importances: Mapping[Site, Tensor], folder: Path
) -> dict[str, Model]:
    """The dense model, and one of each structure and size, by name."""
    made: dict[str, Model] = {}

    def add(name: str, model: Encoder, plan: Plan, forms: tuple[str, ...]) -> None:
        artifact = artifact_of(model, plan, forms, folder / name)
        made[name] = Model(artifact, plan, len(model.layers), kept_share(plan, importances))

    add("dense", dense, dense_plan(dense), DENSE)
    for structure in args.structures:
        search = planning.Search(table_of(args.plan_for).counted(), structure, passes=3)
        menus = planning.make_menus(importances, BASE.head_dim, search)
        for keep in args.keep:
            plan = planning.choose(menus, keep, "random", BASE.head_dim)
            add(f"{structure} {keep:g}", surgery.apply_plan(dense, plan).eval(), plan, FORMS)
    return made


def row(name: str, model: Model, forms: list[str], measured: Measured, dense: list[str]) -> dict[str, Any]:
    """What is left of a model, and what each of its forms takes. dense: what the dense forms are called."""
    plan = model.plan
    found: dict[str, Any] = {
        "weights_kept": round(plan.cost / plan.dense_cost, 4),
        "flops_kept": {f"{s}": round(flops(plan, s) / flops(plan, s, dense=True), 4) for s in (128, 384)},
        "layers_left": model.layers,
        "importance_kept": model.importance,
        "forms": {},
    }
    for form in forms:
        one, graph = f"{name}, {form}", model.artifact.graph(form)
        found["forms"][form] = {
            "milliseconds": milliseconds(measured, one),
            **against(measured.timings, one, dense),
            "gathers_per_layer": gathers_per_layer(graph) if graph.suffix == GRAPH else None,
            "megabytes": round(graph.stat().st_size / 1e6, 1),
            "process megabytes": round(measured.memory.get(one, 0)),
        }
    return found


def milliseconds(measured: Measured, name: str) -> dict[str, float]:
    """The best turn of a model, by shape."""
    return {f"{b}x{s}": round(measured.timings[name].minimum((b, s)), 2) for b, s in SHAPES}


def main() -> None:
    """Build, time, break down, write."""
    parser = script.parser(__doc__, "encoder_speed")
    parser.add_argument("--checkpoint", type=Path, default=Path("../shared/models/minilm-l6-sst2"))
    parser.add_argument("--texts", type=Path, default=Path("../shared/data/glue/sst2/train.tsv"))
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.25, 0.12])
    parser.add_argument("--structures", nargs="+", default=["auto"])
    parser.add_argument("--plan-for", default="int8", help="form by whose prices the plans are made")
    parser.add_argument("--seconds", type=float, default=3, help="of each model and shape, in short turns")
    parser.add_argument("--threads", type=int, default=usable_cores())
    args = parser.parse_args()
    torch.manual_seed(0)
    importances = real_importance(args.checkpoint, args.texts, 256)
    dense = Encoder(BASE).eval()
    result: dict[str, Any] = {
        "machine": facts(),
        "threads": args.threads,
        "onnxruntime": onnxruntime.__version__,
        "openvino": version_of("openvino"),
        "plans made for": table_of(args.plan_for).name,
    }
    with tempfile.TemporaryDirectory() as folder:
        made = models(args, dense, importances, Path(folder))
        jobs = {
            f"{name}, {form}": Timed(model.artifact.path, form)
            for name, model in made.items()
            for form in runnable(model.artifact, DENSE if name == "dense" else FORMS)
        }
        rival = by_nncf(dense, dense_plan(dense), Path(folder) / "nncf")
        if rival is not None:
            jobs[NNCF] = Timed(rival.path, "openvino-int8")
        measured = bench.time_in_turns(jobs, SHAPES, args.threads, args.seconds)
        result["busy"] = measured.busy
        whole = [name for name in jobs if name.startswith("dense")]
        result["fastest dense"] = {f"{b}x{s}": best(measured.timings, whole, (b, s)) for b, s in SHAPES}
        rows: dict[str, dict[str, Any]] = {}
        for name, model in made.items():
            forms = [job.form for job in jobs.values() if job.path == model.artifact.path]
            rows[name] = row(name, model, forms, measured, whole)
            for form in forms:
                if not form.startswith("openvino"):
                    spent = breakdown(model.artifact.graph(form), PROFILED, args.threads)
                    rows[name]["forms"][form][f"milliseconds by operator at {PROFILED[0]}x{PROFILED[1]}"] = spent
        result["rows"] = rows
    if rival is not None:
        result["nncf"] = {
            "version": metadata.version("nncf"),
            "milliseconds": milliseconds(measured, NNCF),
            **against(measured.timings, NNCF, whole),
        }
    script.write(args.out, result)
    for name, found in rows.items():
        for form, one in found["forms"].items():
            print(f"{name:12} {form:14}", one["milliseconds"], one["times the fastest dense"], one["geometric mean"])
    if result["busy"]:
        print(f"the machine was too busy to tell: {result['busy']}")


if __name__ == "__main__":
    main()
