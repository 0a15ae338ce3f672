"""Times all points side by side with the dense model in its fastest forms."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgb_core.artifact import open_artifact
from pgb_core.compare.rows import DENSE
from pgb_core.errors import ResourceError
from pgb_core.gate import load_checked
from pgb_core.machine import free_memory
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, Timed
from pgb_core.measure.comparison import running, write_dense
from pgb_core.progress.report import Report

SHAPES: tuple[Shape, ...] = ((1, 128), (8, 128))
BASELINE = "fused"  # the form of the dense model that others are timed beside: ONNX Runtime's fused operators
AT_ONCE = 12  # models at most beside the dense forms, each in a process of its own


def shape_name(shape: Shape) -> str:
    """As tables have it: 8x128."""
    return f"{shape[0]}x{shape[1]}"


Times = dict[str, dict[str, dict[str, float]]]
Key = tuple[str, str]  # name and form


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
    warn: Callable[[str], None] = lambda text: None,
) -> Measured:
    """Time every form that runs here of every artifact, beside the dense model's: those of its artifact, and ONNX
    Runtime's own. warn: told of the forms that do not run here.

    artifacts: by name, without the dense one. More than fit at once are timed in groups, each beside the dense forms;
    the times of a group are put on the scale of the first one by the fastest dense form. Raises ResourceError when a
    process fails that is timed beside the dense forms alone.
    """
    found: Times = {}
    busy: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pgb-compare-") as folder:
        loaded = load_checked(checkpoint, open_artifact(dense).manifest.task, Report())[0]
        whole = write_dense(loaded, Path(folder) / DENSE, (BASELINE,))
        shapes = tuple(shape for shape in SHAPES if shape[1] <= loaded.max_length) or ((1, loaded.max_length),)
        size = whole.size(BASELINE)
        dense_files, left_out = _running(dense)  # it has the forms of all points
        for form, reason in left_out.items():
            warn(f"form {form} is not timed: {reason}")
        anchors = {(DENSE, BASELINE): Timed(whole.path, BASELINE)}
        anchors |= {(DENSE, form): Timed(dense, form) for form in dense_files}
        beside = sum(map(bench.needed, (size, *dense_files.values())))
        files = {(name, form): file for name, path in artifacts.items() for form, file in _running(path)[0].items()}

        def measure(group: Sequence[Key]) -> None:
            both = {**anchors, **{(name, form): Timed(artifacts[name], form) for name, form in group}}
            models = {" ".join(key): model for key, model in both.items()}
            measured = bench.time_in_turns(models, shapes, threads, seconds, progress)
            busy.extend([measured.busy] if measured.busy else [])
            for shape in shapes:
                times = {key: measured.timings[" ".join(key)].minimum(shape) for key in both}
                _put(times, shape_name(shape), found)

        in_groups({key: bench.needed(file) for key, file in files.items()}, beside, measure, warn)
    return Measured(found, size, busy[0] if busy else None)


def in_groups(
    needed: Mapping[Key, int], beside: int, measure: Callable[[Sequence[Key]], None], warn: Callable[[str], None]
) -> None:
    """Time all models, as many at once as there is memory for, at least one; the dense forms alone where there is none.

    needed: bytes of each model's process; beside: of those of the dense forms. Where a process fails, half as many are
    timed at once from then on. Raises ResourceError when that was one.
    """
    waiting, most = list(needed), AT_ONCE
    while True:
        group = waiting[: min(most, _fitting([needed[key] for key in waiting], beside))]
        try:
            measure(group)
        except ResourceError as error:
            if len(group) < 2:
                raise
            most = len(group) // 2
            warn(f"{error}. There may be too little memory: {most} models are timed at once now, not {len(group)}")
            continue
        waiting = waiting[len(group) :]
        if not waiting:
            return


def _fitting(needed: Sequence[int], beside: int) -> int:
    """How many of the first models there is memory for beside the dense forms; at least one."""
    room = free_memory()
    if room is None:
        return len(needed)
    room, count = room - beside, 0
    while count < len(needed) and needed[count] <= room:
        room, count = room - needed[count], count + 1
    return max(1, count)


def _put(times: Mapping[tuple[str, str], float], shape: str, found: Times) -> None:
    """Put the times of a group where they belong, in place, on the scale of the first group."""
    first = {form: known[shape] for form, known in found.get(DENSE, {}).items() if shape in known}
    best = min(first, key=lambda form: first[form]) if first else ""
    factor = first[best] / times[DENSE, best] if best else 1.0
    for (name, form), time in times.items():
        if name != DENSE or not best:
            found.setdefault(name, {}).setdefault(form, {})[shape] = round(factor * time, 4)


def _running(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    """The bytes of the file of each form that is timed here, and why the others are not."""
    artifact = open_artifact(path)
    here, left_out = running(artifact, "cpu")
    return {form: artifact.size(form) for form in here}, left_out
