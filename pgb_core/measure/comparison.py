"""Times every form of an artifact and of the dense model, in one process each, in turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgb_core.artifact import Artifact
from pgb_core.checkpoints.load import Checkpoint
from pgb_core.data.words import plain
from pgb_core.errors import ConfigError
from pgb_core.export.forms import FORMS, FUSED
from pgb_core.export.probes import LENGTHS, made_up
from pgb_core.export.write import Made, write
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Shape, Timed, Timing
from pgb_core.model import surgery
from pgb_core.plan import Plan
from pgb_core.threads import allowed

# Of the dense model, by device.
DENSE_FORMS = {
    device: tuple(form.name for form in (*FUSED.values(), *FORMS.values()) if device in form.dense)
    for device in ("cpu", "cuda")
}


def dense(form: str) -> str:
    """The name under which the dense model in a form is timed."""
    return f"dense {form}"


DENSE = tuple(dense(form) for form in dict.fromkeys(form for forms in DENSE_FORMS.values() for form in forms))

UNSTEADY = "unsteady"  # in place of a ratio
NAMES = 22  # columns that the names of models take


@dataclass(frozen=True)
class Comparison:
    """Timings by name: a form of the artifact, or 'dense' and a form of the dense model.

    busy: why the machine was too busy for the figures to be trusted; None when they are. left_out: forms that do not
    run here, and why. lost: what each form lost when it was made. sizes: bytes of the file of each;
    memory: megabytes of a process that has it open. unlike: that the dense model is not the one that the artifact was
    made of, where so.
    """

    shapes: tuple[Shape, ...]
    timings: Mapping[str, Timing]
    threads: int
    busy: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    unlike: str | None = None

    @property
    def forms(self) -> list[str]:
        """The forms of the artifact that were timed."""
        return [name for name in self.timings if name not in DENSE]

    def fastest_dense(self, shape: Shape) -> str | None:
        """The dense model with the best turn, in whatever form; None when none was timed."""
        there = [name for name in DENSE if name in self.timings]
        return min(there, key=lambda name: self.timings[name].minimum(shape), default=None)

    def speedup(self, name: str, shape: Shape) -> float | None:
        """Times as fast as the fastest dense form in neighbouring turns, in the middle; None without a dense model."""
        fastest = self.fastest_dense(shape)
        return self.timings[name].ratio(self.timings[fastest], shape) if fastest else None

    def speedup_range(self, name: str, shape: Shape) -> tuple[float, float] | None:
        """What eight of ten of those ratios are within."""
        fastest = self.fastest_dense(shape)
        return self.timings[name].ratio_range(self.timings[fastest], shape) if fastest else None

    def as_json(self) -> dict[str, object]:
        """Figures and machine facts; `milliseconds` are those of the best turn."""
        rows = []
        for shape in self.shapes:
            speedups = {name: self.speedup(name, shape) for name in self.timings}
            ranges = {name: self.speedup_range(name, shape) for name in self.timings}
            rows.append(
                {
                    "batch": shape[0],
                    "tokens": shape[1],
                    "milliseconds": {name: round(timing.minimum(shape), 4) for name, timing in self.timings.items()},
                    "median": {name: round(timing.median(shape), 4) for name, timing in self.timings.items()},
                    "p90": {name: round(timing.p90(shape), 4) for name, timing in self.timings.items()},
                    "turns": min(len(timing.turns[shape]) for timing in self.timings.values()),
                    "fastest_dense": self.fastest_dense(shape),
                    "speedup": {name: round(value, 3) for name, value in speedups.items() if value},
                    "speedup_range": {name: [round(n, 3) for n in both] for name, both in ranges.items() if both},
                }
            )
        return {
            "rows": rows,
            "threads": self.threads,
            "busy": self.busy is not None,
            "reason": self.busy,
            "unlike": self.unlike,
            "left_out": dict(self.left_out),
            "lost": {name: dict(found) for name, found in self.lost.items()},
            "bytes": dict(self.sizes),
            "process_megabytes": {name: round(size) for name, size in self.memory.items()},
            "machine": facts(),
        }


def compare(
    artifact: Artifact,
    checkpoint: Checkpoint | None,
    shapes: Sequence[Shape] = bench.DEFAULT_SHAPES,
    seconds: float = bench.SECONDS,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda n: None,
    device: str = "cpu",
) -> Comparison:
    """Time every form of `artifact`, and with a checkpoint its dense model in every form, in short turns.

    seconds: of each model and shape. device: cpu or cuda. progress is told after each shape. Raises ConfigError when
    no shape fits or no form runs here, ResourceError when there is too little memory for all of them.
    """
    most = artifact.manifest.max_length
    fitting = tuple(shape for shape in shapes if shape[1] <= most)
    if not fitting:
        raise ConfigError(f"no shape fits the model, which takes {most} tokens; give shorter ones")
    threads = usable_cores() if threads is None else allowed(threads)
    with tempfile.TemporaryDirectory(prefix="pgb-bench-") as folder:
        here, left_out = running(artifact, device)
        if not here:
            raise ConfigError(f"no form of {artifact.path} runs on {device} here: {left_out}")
        models = {form: Timed(artifact.path, form, device) for form in here}
        unlike = None
        opened = {artifact.path: artifact}
        if checkpoint is not None:
            unlike = _unlike(artifact, checkpoint)
            whole = write_dense(checkpoint, Path(folder) / "dense", DENSE_FORMS[device])
            opened[whole.path] = whole
            others, missing = running(whole, device)
            models = {**{dense(form): Timed(whole.path, form, device) for form in others}, **models}
            left_out |= {dense(form): reason for form, reason in missing.items()}
        sizes = {name: opened[model.path].size(model.form) for name, model in models.items()}
        bench.check_room(sizes.values())
        found = bench.time_in_turns(models, fitting, threads, seconds, progress)
    lost = {
        name: {what: record.measured[what] for what in ("drop", "equal_answers") if what in record.measured}
        for name, record in artifact.manifest.forms.items()
    }
    return Comparison(fitting, found.timings, threads, found.busy, left_out, lost, sizes, found.memory, unlike)


def _unlike(artifact: Artifact, checkpoint: Checkpoint) -> str | None:
    """What to say where an artifact was made of another checkpoint; None where it was made of this one."""
    known = artifact.manifest.provenance.get("checkpoint_sha256")
    if known == checkpoint.digest:
        return None
    if not isinstance(known, str):
        return (
            f"the manifest of {artifact.manifest.name} does not say what checkpoint it was made of; ratios may be of "
            "two models"
        )
    return (
        f"{plain(checkpoint.source)} is not the checkpoint that {artifact.manifest.name} was made of: the sha256 of "
        f"its weights is {checkpoint.digest[:12]}, and the manifest has {plain(known)[:12]}; ratios are of two models"
    )


def write_dense(checkpoint: Checkpoint, out: Path, forms: Sequence[str]) -> Artifact:
    """The dense model in these forms, as an artifact that only serves to be timed."""
    model = checkpoint.model
    plan = Plan.whole(checkpoint.digest, model.config.head_dim, model.shapes())
    model = surgery.apply_plan(model.cpu(), plan).eval()  # whose tensors then fit the plan, as PyTorch's forms need it
    seen = made_up(checkpoint.tokenizer, model.config, LENGTHS)  # only timed: any range will do
    return write(out, Made(checkpoint, model, plan, forms, observed=seen, tried=False))


def table(found: Comparison, width: int | None = None) -> str:
    """What was found, a line a model: milliseconds of the best turn, and ratios of neighbouring turns.

    width: of the terminal; columns that do not fit beside the others stand below them. None: of any width.
    """
    names = list(found.timings)
    cells = {shape: [_cell(found, name, shape) for name in names] for shape in found.shapes}
    columns = [
        [f"{f'{batch} x {tokens}':>26}", *(f"{cell:>26}" for cell in cells[batch, tokens])] for batch, tokens in cells
    ]
    held = [f"{found.memory[name]:.0f} MB" if name in found.memory else "" for name in names]
    columns.append([f"   {cell:>8}" for cell in ("memory", *held)])
    columns.append([f"   {cell}" for cell in ("lost", *(_lost(found.lost.get(name, {})) for name in names))])
    lines = ["Times are milliseconds of the best turn."]
    if any(found.fastest_dense(shape) for shape in found.shapes):
        lines.append("Ratios are times as fast as the fastest dense form: middle turn (8 of 10 turns).")
    for block in _blocks(columns, width):
        lines += [
            "",
            *("".join(row).rstrip() for row in zip([f"{name:{NAMES}}" for name in ("", *names)], *block, strict=True)),
        ]
    if any(UNSTEADY in cell for column in cells.values() for cell in column):
        lines.append(f"{UNSTEADY}: no ratio is told, because those of turns differ more than twofold")
    threads = f"{found.threads} thread" + ("" if found.threads == 1 else "s")
    if found.unlike:
        lines.append(found.unlike)
    lines.append(f"{facts()['cpu']}, {', '.join(map(str, facts()['instruction_sets']))}; {threads}")  # type: ignore[call-overload]
    return "\n".join(lines)


def _cell(found: Comparison, name: str, shape: Shape) -> str:
    """The time and the ratio of a model; no ratio where the machine was too busy to tell one."""
    time, ratio, within = (
        found.timings[name].minimum(shape),
        found.speedup(name, shape),
        found.speedup_range(name, shape),
    )
    if not ratio or not within:
        return f"{time:.2f}"
    if found.busy and within[1] > 2 * within[0]:
        return f"{time:.2f} {UNSTEADY}"
    return f"{time:.2f} {ratio:.2f}x ({within[0]:.2f}-{within[1]:.2f})"


def _blocks(columns: Sequence[Sequence[str]], width: int | None) -> list[list[Sequence[str]]]:
    """The columns of each part of a table, of which each fits a terminal beside the names."""
    blocks: list[list[Sequence[str]]] = [[]]
    used = NAMES
    for column in columns:
        size = max(map(len, column))
        if width is not None and blocks[-1] and used + size > width:
            blocks.append([])
            used = NAMES
        blocks[-1].append(column)
        used += size
    return blocks


def _lost(measured: Mapping[str, Any]) -> str:
    if "drop" in measured:
        return f"{measured['drop']:z.2f} points"
    return f"{1 - measured['equal_answers']:.2%} of answers" if "equal_answers" in measured else ""


def running(artifact: Artifact, device: str) -> tuple[list[str], dict[str, str]]:
    """The forms of an artifact that are timed on a device here, and why the others are not."""
    here: list[str] = []
    left_out: dict[str, str] = {}
    for form in artifact.manifest.forms:
        if device == "cpu" and artifact.form(form).devices[0] != "cpu":
            left_out[form] = "it is for a GPU"
            continue
        try:
            open_runtime(artifact, form, device, 1).close()
        except RuntimeUnavailable as error:
            left_out[form] = str(error)
        else:
            here.append(form)
    return here, left_out
