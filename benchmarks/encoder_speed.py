"""How fast a compressed BERT-base runs, against the best dense graph of the same runtime.

Shapes are BERT-base's (12 layers, 768, 12 heads, 3072), weights random. What is kept follows real
importance: the scores of a fine-tuned 6-layer checkpoint, each layer used twice and each entry
stretched to the larger shape, go through the ordinary planner. Every graph runs in a process of its
own and processes take short turns; milliseconds are of the best turn, ratios of neighbouring ones.

The head is a span head, so no model is excused from computing all tokens of its last layer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from pgb_core import export
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.data import read_data
from pgb_core.learn import fisher
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, random_feed
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder, EncoderConfig
from pgb_core.plan import Plan, Role, Site, flops
from pgb_core.prices import prices_of
from pgb_core.search import planning
from pgb_core.search.importance import importance
from pgb_core.tasks.classification import encode_texts
from pgb_core.tasks.features import batches

OPENVINO = "dense OpenVINO bf16"
SHAPES: tuple[Shape, ...] = ((1, 128), (8, 128), (1, 384))
BASE = EncoderConfig(
    vocab=30522,
    positions=512,
    types=2,
    embedding=768,
    hidden=768,
    layers=12,
    heads=12,
    ffn=3072,
    norm_eps=1e-12,
    activation="gelu",
    head_activation=None,
    labels=2,
    task="qa",
    pad_id=0,
    counts_padding=True,
)
TARGETS = {0.5: 1.9, 0.12: 5.0}


def real_importance(checkpoint: Path, texts: Path, rows: int) -> dict[Site, torch.Tensor]:
    """Scores of a fine-tuned model, stretched to BERT-base: layer n comes from layer n // 2."""
    loaded = load_checkpoint(checkpoint)
    model = loaded.model
    picked = read_data(texts, "texts").rows[:: max(1, 60_000 // rows)][:rows]
    features = encode_texts(picked, [None] * len(picked), loaded.tokenizer, 128)
    scores = fisher.fisher(
        model, batches(features, 2048, model.config.pad_id), loaded.subject.objective, 0, from_predictions=True
    )
    found = {}
    for site, linear in model.sites().items():
        values = importance(linear.to_dense().detach(), scores[site])
        out = BASE.ffn if site.role is Role.FFN_IN else BASE.hidden
        size = BASE.ffn if site.role is Role.FFN_OUT else BASE.hidden
        wide = values.repeat_interleave(out // values.shape[0], 0).repeat_interleave(size // values.shape[1], 1)
        for layer in (2 * site.layer, 2 * site.layer + 1):
            found[Site(layer, site.role)] = wide
    return found


def compact_models(importances: dict[Site, torch.Tensor], keeps: list[float]) -> dict[str, tuple[Encoder, Plan]]:
    """Plans and models for each share kept, of every structure."""
    dense = Encoder(BASE).eval()
    found = {}
    for structure in ("shared", "disjoint", "nested"):
        menus = planning.make_menus(importances, BASE.head_dim, planning.Search(prices_of("fp32"), structure, passes=3))
        for keep in keeps:
            plan = planning.choose(menus, keep, "random", BASE.head_dim)
            found[f"{structure} {keep:g}"] = (surgery.apply_plan(dense, plan).eval(), plan)
    return found


def breakdown(path: Path, shape: Shape, threads: int, runs: int = 20) -> dict[str, float]:
    """Share of the time by operator, percent."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = random_feed([i.name for i in session.get_inputs()], shape)
        for _ in range(runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Node" and "op_name" in event.get("args", {}):
            spent[event["args"]["op_name"]] += event["dur"]
    total = sum(spent.values())
    return {
        name: round(100 * t / total, 1) for name, t in sorted(spent.items(), key=lambda i: -i[1]) if t > 0.005 * total
    }


def gathers_per_layer(proto: onnx.ModelProto) -> float:
    """Gathers that are left in the encoder, a layer that is left."""
    names = [n.name for n in proto.graph.node if n.op_type == "Gather" and n.name.startswith("layer.")]
    layers = {n.name.split(".")[1] for n in proto.graph.node if n.name.startswith("layer.")}
    return round(len(names) / max(1, len(layers)), 2)


def main() -> None:
    """Build, time, break down, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("../shared/models/minilm-l6-sst2"))
    parser.add_argument("--texts", type=Path, default=Path("../shared/data/glue/sst2/train.tsv"))
    parser.add_argument("--keep", type=float, nargs="+", default=[0.5, 0.25, 0.12])
    parser.add_argument("--seconds", type=float, default=4.5, help="of each model and shape, in short turns")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/encoder_speed.json"))
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    torch.manual_seed(0)
    models = compact_models(real_importance(args.checkpoint, args.texts, 256), args.keep)
    dense = Encoder(BASE).eval()
    result: dict[str, object] = {"machine": facts(), "threads": args.threads, "onnxruntime": onnxruntime.__version__}
    with tempfile.TemporaryDirectory() as folder:
        protos = {"dense fused": export.token_major(dense), "dense channels-first": export.channels_first(dense)}
        protos |= {name: export.channels_first(model) for name, (model, _) in models.items()}
        paths = {}
        for name, proto in protos.items():
            paths[name] = Path(folder) / f"{name.replace(' ', '-')}.onnx"
            paths[name].write_bytes(proto.SerializeToString())
        result["fusions in the dense graph"] = {
            kind: sum(node.op_type == kind for node in protos["dense fused"].graph.node)
            for kind in ("Attention", "SkipLayerNormalization", "BiasGelu")
        }
        paths["dense int8"] = Path(folder) / "int8.onnx"
        quantize_dynamic(
            paths["dense fused"],
            paths["dense int8"],
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        jobs = {**paths, OPENVINO: paths["dense channels-first"]}
        workers = {OPENVINO: "benchmarks.openvino_worker"}
        measured = bench.time_in_turns(jobs, SHAPES, args.threads, args.seconds, workers=workers)
        result["busy"] = measured.busy
        timings = measured.timings
        baseline = {
            shape: min((timings[n] for n in ("dense fused", "dense channels-first")), key=lambda t: t.minimum(shape))
            for shape in SHAPES
        }
        rows: dict[str, dict[str, Any]] = {}
        for name in jobs:
            rows[name] = {
                "milliseconds": {f"{b}x{s}": round(timings[name].minimum((b, s)), 2) for b, s in SHAPES},
                "times the best dense fp32": {
                    f"{b}x{s}": round(timings[name].ratio(baseline[b, s], (b, s)), 2) for b, s in SHAPES
                },
            }
            if name in models:
                model, plan = models[name]
                rows[name] |= {
                    "weights_kept": round(plan.cost / plan.dense_cost, 4),
                    "flops_kept": {f"{s}": round(flops(plan, s) / flops(plan, s, dense=True), 4) for s in (128, 384)},
                    "layers_left": len(model.layers),
                    "gathers_per_layer": gathers_per_layer(protos[name]),
                }
            if name in protos:
                rows[name]["time by operator at 1x128, percent"] = breakdown(paths[name], (1, 128), args.threads)
        result["rows"] = rows
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    if args.json:
        print(json.dumps(result))
        return
    for name, row in rows.items():
        print(f"{name:22}", row["milliseconds"], row["times the best dense fp32"])


if __name__ == "__main__":
    main()
