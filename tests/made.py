"""Artifacts with weights, small and random, of every architecture, task, plan and form; made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pgb_core.artifact import Artifact, write_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.export import write
from pgb_core.model.surgery import apply_plan
from tests.core.planned import dense_plan, hand_plan
from tests.core.small import checkpoint

Make = Callable[..., Artifact]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """An artifact with weights, by architecture, task, plan and form of the graph; made once."""
    made: dict[tuple[str, ...], Artifact] = {}

    def get(
        architecture: str = "bert", task: str = "classification", plan: str = "grouped", target: str = "cpu"
    ) -> Artifact:
        key = (architecture, task, plan, target)
        if key not in made:
            folder = tmp_path_factory.mktemp("runtimes")
            loaded = load_checkpoint(checkpoint(folder / "model", architecture, task, initializer_range=0.1))
            chosen = (hand_plan if plan == "grouped" else dense_plan)(loaded.model)
            model = apply_plan(loaded.model, chosen).eval()
            made[key] = write.write(folder / "out", write.Made(loaded, model, chosen, target, weights=True))
        return made[key]

    return get


def rewritten(artifact: Artifact, folder: Path, files: dict[str, bytes | None]) -> Artifact:
    """A copy with other files, whole and hashed; None leaves one out."""
    kept = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files} | files
    present = {name: content for name, content in kept.items() if content is not None}
    return write_artifact(folder, replace(artifact.manifest, files={}), present)
