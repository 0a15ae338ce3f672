"""The artifacts that are served, made by `pgb compress` from one checkpoint.

Those with fewer weights are trained for a few steps only: they tell how fast such a model is, and nothing about its
answers. Speed depends on what was kept, which is decided before the training.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.inside.classifier import Classifier
from benchmarks.peers.rival import ROOT
from benchmarks.peers.serving import CORE
from benchmarks.service.harness import pinned
from pgb_core.artifact import open_artifact
from pgb_core.errors import ArtifactError

KEEPS = (1.0, 0.5, 0.25)
FORMS = ("fp32", "int8", "openvino-int8")
_EPOCHS = 0.02
_MAX_LENGTH = 128  # tokens of a training row; the model takes more


def artifact(keep: float, checkpoint: Path, data: Path, folder: Path) -> Path:
    """With this share of the weights; made if it is missing. Raises CalledProcessError."""
    out = folder / f"keep-{keep:g}"
    if _ready(out):
        return out
    learned, trained = ("--train", ("--epochs", _EPOCHS)) if keep < 1 else ("--calibrate", ())
    rows = (learned, data / "glue/sst2/train.tsv", "--eval", data / "glue/sst2/dev.tsv")
    settings = ("--keep", keep, *trained, "--forms", ",".join(FORMS), "--max-length", _MAX_LENGTH)
    arguments = [str(Path(part).resolve()) if isinstance(part, Path) else str(part) for part in (*rows, *settings)]
    command = [sys.executable, "-c", "import sys; from pgb_core.cli import main; sys.exit(main())", "compress"]
    places = [str(checkpoint.resolve()), *arguments, "--out", str(out.resolve()), "--force"]
    subprocess.run([*command, *places], check=True, cwd=ROOT)
    return out


def speeds(python: Path, artifact: Path, texts: Path) -> dict[str, float]:
    """Texts a second of each form on the server's core, in the environment of `python`, with no server."""
    command = [str(python), "-m", "benchmarks.peers.inside.classifier", str(artifact.resolve()), str(texts.resolve())]
    with pinned(CORE):
        found: dict[str, float] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return found


def best(speed: dict[str, float], takes: tuple[str, ...]) -> str:
    """The fastest form of those that a server takes."""
    return max((form for form in takes if form in speed), key=speed.__getitem__)


def probabilities(artifact: Path, texts: list[str]) -> dict[str, float]:
    """Of the positive label, by text, as fp32 gives them."""
    return {text: row[1] for text, row in zip(texts, Classifier(artifact, "fp32")(texts), strict=True)}


def _ready(path: Path) -> bool:
    try:
        return set(open_artifact(path).manifest.forms) >= set(FORMS)
    except ArtifactError:
        return False
