"""An artifact timed side by side with the best dense graphs of its checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgb_core.artifact import Artifact
from pgb_core.errors import ConfigError
from pgb_core.export.forms import FORMS
from pgb_core.gate import load_checked
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, Timing
from pgb_core.model.encoder import Encoder
from pgb_core.progress.report import Report
from pgb_core.threads import allowed

BASELINES = {form.baseline: form for form in FORMS.values() if form.baseline is not None}
DENSE = tuple(BASELINES)


@dataclass(frozen=True)
class Comparison:
    """Milliseconds by model and shape; `speedup` is against the faster dense graph of each shape.

    busy: why the machine was too busy for the figures to be trusted; None when they are.
    """

    shapes: tuple[Shape, ...]
    timings: dict[str, Timing]
    threads: int
    busy: str | None = None

    def fastest_dense(self, shape: Shape) -> Timing | None:
        """That of the dense graph with the best turn; None when no dense model was timed."""
        dense = [self.timings[name] for name in DENSE if name in self.timings]
        return min(dense, key=lambda timing: timing.minimum(shape), default=None)

    def speedup(self, shape: Shape) -> float | None:
        """Times as fast as the best dense graph in neighbouring turns, in the middle; None without a dense model."""
        dense = self.fastest_dense(shape)
        return self.timings["artifact"].ratio(dense, shape) if dense else None

    def speedup_range(self, shape: Shape) -> tuple[float, float] | None:
        """What eight of ten of those ratios are within."""
        dense = self.fastest_dense(shape)
        return self.timings["artifact"].ratio_range(dense, shape) if dense else None

    def as_json(self) -> dict[str, object]:
        """Figures and machine facts; `milliseconds` are those of the best turn."""
        rows = []
        for shape in self.shapes:
            speedup, within = self.speedup(shape), self.speedup_range(shape)
            rows.append(
                {
                    "batch": shape[0],
                    "tokens": shape[1],
                    "milliseconds": {name: round(timing.minimum(shape), 4) for name, timing in self.timings.items()},
                    "median": {name: round(timing.median(shape), 4) for name, timing in self.timings.items()},
                    "p90": {name: round(timing.p90(shape), 4) for name, timing in self.timings.items()},
                    "turns": len(self.timings["artifact"].turns[shape]),
                    "speedup": round(speedup, 3) if speedup else None,
                    "speedup_range": [round(value, 3) for value in within] if within else None,
                }
            )
        return {
            "rows": rows,
            "threads": self.threads,
            "busy": self.busy is not None,
            "reason": self.busy,
            "machine": facts(),
        }


def compare(
    artifact: Artifact,
    checkpoint: str | Path | None,
    shapes: Sequence[Shape] = bench.DEFAULT_SHAPES,
    seconds: float = bench.SECONDS,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
) -> Comparison:
    """Time `artifact`, and with a checkpoint its dense graphs, in processes that take short turns.

    seconds: of each model and shape. progress is told after each shape.
    """
    most = artifact.manifest.max_length
    fitting = tuple(shape for shape in shapes if shape[1] <= most)
    if not fitting:
        raise ConfigError(f"no shape fits the model, which takes {most} tokens; give shorter ones")
    threads = usable_cores() if threads is None else allowed(threads)
    with tempfile.TemporaryDirectory(prefix="pgb-bench-") as folder:
        models = {"artifact": artifact.model}
        if checkpoint is not None:
            models |= write_dense(load_checked(checkpoint, artifact.manifest.task, Report())[0].model, Path(folder))
        found = bench.time_in_turns(models, fitting, threads, seconds, progress)
    return Comparison(fitting, found.timings, threads, found.busy)


def write_dense(model: Encoder, folder: Path) -> dict[str, Path]:
    """The dense graphs of an encoder, in every form that is a baseline, as files."""
    paths = {}
    for name, form in BASELINES.items():
        paths[name] = folder / f"{form.name}.onnx"
        paths[name].write_bytes(form.build(model).SerializeToString())
    return paths
