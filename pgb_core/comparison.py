"""An artifact timed side by side with the best dense graphs of its checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgb_core import bench, graph
from pgb_core.artifact import Artifact
from pgb_core.bench import Shape, Timing
from pgb_core.encoders import load_checkpoint
from pgb_core.machine import facts, usable_cores
from pgb_core.nn.encoder import Encoder

DENSE = ("dense, fused", "dense, channels-first")


@dataclass(frozen=True)
class Comparison:
    """Milliseconds by model and shape; `speedup` is against the faster dense graph of each shape."""

    shapes: tuple[Shape, ...]
    timings: dict[str, Timing]
    threads: int

    def speedup(self, shape: Shape) -> float | None:
        """Times as fast as the best dense graph; None when no dense model was timed."""
        dense = [self.timings[name].medians[shape] for name in DENSE if name in self.timings]
        return min(dense) / self.timings["artifact"].medians[shape] if dense else None

    def as_json(self) -> dict[str, object]:
        """Figures and machine facts."""
        rows = []
        for shape in self.shapes:
            milliseconds = {name: round(timing.medians[shape], 4) for name, timing in self.timings.items()}
            speedup = self.speedup(shape)
            rows.append(
                {
                    "batch": shape[0],
                    "tokens": shape[1],
                    "milliseconds": milliseconds,
                    "speedup": round(speedup, 3) if speedup else None,
                }
            )
        return {"rows": rows, "threads": self.threads, "machine": facts()}


def compare(
    artifact: Artifact,
    checkpoint: str | Path | None,
    shapes: Sequence[Shape] = bench.DEFAULT_SHAPES,
    seconds: float = 1.0,
    rounds: int = 3,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Comparison:
    """Time `artifact`, and with a checkpoint its dense graphs, in processes that alternate."""
    fitting = tuple(shape for shape in shapes if shape[1] <= artifact.manifest.max_length)
    threads = threads or usable_cores()
    with tempfile.TemporaryDirectory(prefix="pgb-bench-") as folder:
        models = {"artifact": artifact.model}
        if checkpoint is not None:
            models |= write_dense(load_checkpoint(checkpoint, artifact.manifest.task).model, Path(folder))
        timings = bench.compare(models, fitting, threads, rounds, seconds, progress)
    return Comparison(fitting, timings, threads)


def write_dense(model: Encoder, folder: Path) -> dict[str, Path]:
    """Both dense graphs of an encoder as files."""
    paths = {}
    for name, build in zip(DENSE, (graph.token_major, graph.channels_first), strict=True):
        paths[name] = folder / f"{build.__name__}.onnx"
        paths[name].write_bytes(build(model).SerializeToString())
    return paths
