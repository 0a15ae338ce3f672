"""Every runtime on the same models, by precision, threads, and whether idle threads spin.

    pgb compress CHECKPOINT --task classification --keep 1 --weights --out DENSE
    pgb compress CHECKPOINT --task classification --keep 0.5 --epochs 0 --calibrate TEXTS --weights --out HALF
    python -m benchmarks.runtimes DENSE HALF

A row is one call of the service's own runtime, padding included, in a process of its own; processes
alternate, and a row keeps its best round's median. `ratio` is times as fast as ONNX Runtime, on as many
threads and without spinning, runs the dense model's graph with fused operators in float32. `after a
pause` is the same call when 10 ms have passed since the last: then idle threads have gone to sleep.

BERT-base is that shape with random weights and a span head.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from pgb_core.artifact import CHECK, MODEL, PLAN, TOKENIZER, WEIGHTS, Artifact, Manifest, open_artifact, write_artifact
from pgb_core.inference.runtimes.base import Runtime, Setup
from pgb_core.inference.runtimes.onnx_runtime import OnnxRuntime
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.inference.runtimes.selfcheck import self_check
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import facts, usable_cores
from pgb_core.measure.bench import median_milliseconds

SHAPES = ((1, 16), (8, 64), (1, 384))
PAUSE = 0.01
FUSED = "dense, fused"
PACKAGES = ("onnxruntime", "openvino", "torch")


@dataclass(frozen=True)
class Way:
    """How an artifact is run."""

    runtime: str
    precision: str
    threads: int
    spinning: bool = False


def ways(threads: Sequence[int]) -> list[Way]:
    """Each runtime in each precision; ONNX Runtime of several threads also spinning."""
    kinds: list[tuple[str, str]] = [
        ("onnxruntime", "float32"),
        *product(("openvino", "torch"), ("float32", "bfloat16")),
    ]
    found = [Way(kind, precision, count) for count in threads for kind, precision in kinds]
    return found + [Way("onnxruntime", "float32", count, spinning=True) for count in threads if count > 1]


def with_fused_graph(artifact: Artifact, out: Path) -> Artifact:
    """The same dense model by the graph that ONNX Runtime's own optimiser would make of it."""
    from pgb_core import export
    from pgb_core.model import rebuild

    files = {name: (artifact.path / name).read_bytes() for name in (TOKENIZER, PLAN, CHECK)}
    files[MODEL] = export.token_major(rebuild.encoder_of(artifact)).SerializeToString()
    return write_artifact(out, replace(artifact.manifest, files={}), files)


def bert_base(out: Path) -> Artifact:
    """BERT-base with random weights, dense."""
    import torch

    from benchmarks.encoder_speed import BASE
    from pgb_core import export
    from pgb_core.export import probes
    from pgb_core.model import rebuild
    from pgb_core.model.encoder import Encoder
    from pgb_core.plan import Keep, Plan
    from pgb_core.tasks.features import Features

    torch.manual_seed(0)
    model = Encoder(BASE).eval()
    choices = {site: Keep((m.out_features, m.in_features)) for site, m in model.sites().items()}
    plan = Plan("random", BASE.head_dim, choices)
    proto = export.channels_first(model)
    manifest = Manifest(
        name="bert-base",
        task=BASE.task,
        architecture="bert",
        labels=(),
        activation="softmax",
        max_length=BASE.max_length,
        pad_id=BASE.pad_id,
        inputs=tuple(export.input_names(model)),
        outputs=tuple(output.name for output in proto.graph.output),
        target="cpu",
        opset=export.OPSET,
        contrib_opset=export.CONTRIB_OPSET,
        contrib_ops=(),
        weights={"kept": plan.cost, "dense": plan.dense_cost},
        plan_digest="",
    )
    files = {
        MODEL: proto.SerializeToString(),
        TOKENIZER: b"{}",
        PLAN: plan.to_json().encode(),
        CHECK: probes.expectations(model, [Features([1000] * 48, [0] * 48, None, 0)]).encode(),
        WEIGHTS: rebuild.weights_of(model),
    }
    return write_artifact(out, manifest, files)


def opened(artifact: Artifact, way: Way) -> Runtime:
    """The runtime as the service would open it, save for spinning, which it never asks for."""
    if way.spinning:
        return OnnxRuntime(artifact, Setup(threads=way.threads), spinning=True)
    return open_runtime(artifact, way.runtime, "cpu", way.precision, way.threads)


def work(request: Mapping[str, Any]) -> dict[str, Any]:
    """Time one artifact one way: milliseconds by shape, and how far its logits are from PyTorch's in float32."""
    artifact = open_artifact(request["artifact"])
    way = Way(**request["way"])
    runtime = opened(artifact, way)
    checked = self_check(runtime, artifact, way.precision)
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {"difference": float(f"{checked:.2g}")}
    for batch, length in SHAPES:
        tokens = [Tokens(rng.integers(1000, 2000, length).tolist(), [0] * length) for _ in range(batch)]
        run = functools.partial(runtime.run, tokens)
        found[f"{batch}x{length}"] = median_milliseconds(run, request["seconds"])
        if batch == 1:
            found[f"{batch}x{length} after a pause"] = paused_milliseconds(run, request["seconds"])
    return found


def paused_milliseconds(call: Callable[[], object], seconds: float) -> float:
    """The median of calls with pauses between them; pauses are not counted."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        time.sleep(PAUSE)
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def in_process(artifact: Path, way: Way, seconds: float) -> dict[str, Any]:
    """`work` in a fresh process; what it says instead where the way cannot be gone on this machine."""
    request = json.dumps({"artifact": str(artifact), "way": asdict(way), "seconds": seconds})
    command = [sys.executable, "-m", "benchmarks.runtimes", "--work", request]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"refused": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(artifacts: Mapping[str, Path], threads: Sequence[int], rounds: int, seconds: float) -> list[Any]:
    """A row of each artifact and way, with the best of several rounds."""
    jobs = [
        (name, way)
        for name, way in product(artifacts, ways(threads))
        if FUSED not in name or (way.runtime == "onnxruntime" and not way.spinning)
    ]
    best: dict[tuple[str, Way], dict[str, Any]] = {}
    for _ in range(rounds):
        for job in jobs:
            name, way = job
            found = in_process(artifacts[name], way, seconds)
            before = best.get(job, found)
            best[job] = {key: found[key] if key == "refused" else min(found[key], before[key]) for key in found}
            print(name, *asdict(way).values(), found, flush=True)
    rows = []
    for (name, way), found in best.items():
        base = best[f"{name.split(',')[0]}, {FUSED}", Way("onnxruntime", "float32", way.threads)]
        times = {key: value for key, value in found.items() if key[0].isdigit()}
        rows.append(
            {
                "model": name,
                **asdict(way),
                **{key: found[key] for key in found if key not in times},
                "milliseconds": {key: round(value, 3) for key, value in times.items()},
                "ratio": {key: round(base[key] / value, 2) for key, value in times.items()},
            }
        )
    return rows


def main() -> None:
    """Make what is missing, time everything, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dense", type=Path, nargs="?", help="artifact with --keep 1 --weights")
    parser.add_argument("half", type=Path, nargs="?", help="artifact of the same checkpoint with --keep 0.5 --weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each shape and round")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/runtimes.json"))
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(work(json.loads(args.work))))
        return
    if args.half is None:
        parser.error("name a dense and a compressed artifact")
    with tempfile.TemporaryDirectory(prefix="pgb-runtimes-") as folder:
        base = bert_base(Path(folder) / "base")
        artifacts = {
            f"MiniLM, {FUSED}": with_fused_graph(open_artifact(args.dense), Path(folder) / "fused").path,
            "MiniLM, dense": args.dense,
            "MiniLM, half": args.half,
            f"BERT-base, {FUSED}": with_fused_graph(base, Path(folder) / "base-fused").path,
            "BERT-base, dense": base.path,
        }
        rows = measured(artifacts, sorted({1, usable_cores()}), args.rounds, args.seconds)
    packages = {name: version(name) for name in PACKAGES}
    args.out.write_text(json.dumps({"machine": facts(), "packages": packages, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
