"""Times all points side by side with the dense model in its fastest forms."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgb_core.artifact import open_artifact
from pgb_core.compare.rows import DENSE
from pgb_core.gate import load_checked
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, Timed
from pgb_core.measure.comparison import write_dense
from pgb_core.progress.report import Report

SHAPES: tuple[Shape, ...] = ((1, 128), (8, 128))
FUSED = "fused"  # the dense model with ONNX Runtime's fused operators
AT_ONCE = 12  # artifacts beside the dense forms, each in a process of its own


def shape_name(shape: Shape) -> str:
    """As tables have it: 8x128."""
    return f"{shape[0]}x{shape[1]}"


Times = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Measured:
    """times: milliseconds of the best turn by name, form and shape. fused: bytes of the dense graph of that form.

    busy: why the times are not to be trusted; None when they are.
    """

    times: Times
    fused: int
    busy: str | None


def timed(
    checkpoint: str,
    dense: Path,
    artifacts: Mapping[str, Path],
    threads: int,
    seconds: float,
    progress: Callable[[int], None],
) -> Measured:
    """Time every form of every artifact, beside the dense model's: those of its artifact, and ONNX Runtime's own.

    artifacts: by name, without the dense one. More than fit at once are timed in groups, each beside the dense forms;
    the times of a group are put on the scale of the first one by the fastest dense form.
    """
    found: Times = {}
    busy: str | None = None
    with tempfile.TemporaryDirectory(prefix="pgb-compare-") as folder:
        loaded = load_checked(checkpoint, open_artifact(dense).manifest.task, Report())[0]
        whole = write_dense(loaded, Path(folder) / DENSE, (FUSED,))
        anchors = {(DENSE, FUSED): Timed(whole.path, FUSED)}
        anchors |= {(DENSE, form): Timed(dense, form) for form in _running(dense)}
        shapes = tuple(shape for shape in SHAPES if shape[1] <= loaded.max_length) or ((1, loaded.max_length),)
        models = {(name, form): Timed(path, form) for name, path in artifacts.items() for form in _running(path)}
        order = list(models)
        for start in range(0, max(1, len(order)), AT_ONCE):
            both = {**anchors, **{key: models[key] for key in order[start : start + AT_ONCE]}}
            names = {f"{name} {form}": (name, form) for name, form in both}
            measured = bench.time_in_turns(
                {said: both[key] for said, key in names.items()}, shapes, threads, seconds, progress
            )
            busy = busy or measured.busy
            for shape in shapes:
                times = {key: measured.timings[said].minimum(shape) for said, key in names.items()}
                _put(times, shape_name(shape), found)
        size = whole.graph(FUSED).stat().st_size
    return Measured(found, size, busy)


def _put(times: Mapping[tuple[str, str], float], shape: str, found: Times) -> None:
    """Put the times of a group where they belong, in place, on the scale of the first group."""
    first = {form: known[shape] for form, known in found.get(DENSE, {}).items() if shape in known}
    best = min(first, key=lambda form: first[form]) if first else ""
    factor = first[best] / times[DENSE, best] if best else 1.0
    for (name, form), time in times.items():
        if name != DENSE or not best:
            found.setdefault(name, {}).setdefault(form, {})[shape] = round(factor * time, 4)


def _running(path: Path) -> Iterator[str]:
    """The forms that open here."""
    artifact = open_artifact(path)
    for form in artifact.manifest.forms:
        try:
            open_runtime(artifact, form, "cpu", 1).close()
        except RuntimeUnavailable:
            continue
        yield form
