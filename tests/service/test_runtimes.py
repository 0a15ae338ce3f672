"""Every runtime gives the logits of the exported model, or says in one line why it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from pgb_core.artifact import CHECK, Artifact, open_artifact, write_artifact
from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from service.errors import Unavailable
from service.runtimes.choose import open_runtime
from service.runtimes.protocol import Device, Kind, Precision, Runtime
from service.runtimes.selfcheck import self_check
from service.tokenizer import Tokens
from tests.conftest import ARCHITECTURES, TASKS
from tests.core.small import WORDS, checkpoint
from tests.served import serving

LENGTHS = (3, 17, 62, 5)
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.15}
CHOICES: tuple[tuple[Kind, Precision], ...] = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, float], Artifact]:
    """An artifact with weights, by architecture, task and share kept; made once."""
    made: dict[tuple[str, str, float], Artifact] = {}

    def get(architecture: str, task: str, keep: float) -> Artifact:
        key = (architecture, task, keep)
        if key not in made:
            folder = tmp_path_factory.mktemp("runtimes")
            lines = folder / "lines.txt"
            lines.write_text("\n".join(f"the {a} was {b}" for a in WORDS for b in WORDS[:3]))
            squad = folder / "squad.json"
            question = {"context": "the town sang a song", "qas": [{"id": "1", "question": "who sang"}]}
            squad.write_text(json.dumps({"data": [{"paragraphs": [question]}]}))
            made[key] = compress(
                CompressConfig(
                    str(checkpoint(folder / "model", architecture, task, initializer_range=0.1)),
                    str(folder / "out"),
                    calibrate=str(squad if task == "qa" else lines),
                    keep=keep,
                    epochs=0,
                    passes=1,
                    weights=True,
                )
            )
        return made[key]

    return get


def opened(artifact: Artifact, kind: Kind, precision: Precision, device: Device = "cpu") -> Runtime:
    """A runtime, or a skip where this machine has no such products."""
    try:
        return open_runtime(artifact, kind, device, precision, 1)
    except Unavailable as error:
        if "no bfloat16" in str(error):
            pytest.skip(str(error))
        raise


def inputs() -> list[Tokens]:
    """Of mixed lengths, the longest as long as the models take."""
    rng = np.random.default_rng(0)
    return [Tokens(rng.integers(4, 30, size).tolist(), [0] * size) for size in LENGTHS]


def furthest(found: list[NDArray[np.float32]], wanted: list[NDArray[np.float32]]) -> float:
    """Of the logits of all inputs."""
    assert [row.shape for row in found] == [row.shape for row in wanted]
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("keep", [0.5, 1.0])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_runtimes_agree(make: Callable[..., Artifact], architecture: str, task: str, keep: float) -> None:
    """Grouped or dense, in one batch or one by one, and each passes the artifact's own check."""
    artifact = make(architecture, task, keep)
    reference = open_runtime(artifact, "onnxruntime", "cpu", "float32", 1)
    wanted = [reference.run([item])[0] for item in inputs()]
    largest = max(1.0, *(float(np.abs(row).max()) for row in wanted))
    for kind, precision in CHOICES:
        try:
            runtime = open_runtime(artifact, kind, "cpu", precision, 1)
        except Unavailable as error:
            if "bfloat16" not in str(error):
                raise
            continue  # the processor has none; the test below says so
        allowed = TOLERANCES[precision] * (largest if precision == "bfloat16" else 1)
        assert furthest(runtime.run(inputs()), wanted) < allowed, (kind, precision)
        assert furthest(runtime.run(inputs()[1:2]), wanted[1:2]) < allowed, (kind, precision)
        self_check(runtime, artifact, precision)
        runtime.close()


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_bfloat16_is_another_precision(make: Callable[..., Artifact], kind: Kind) -> None:
    """Its logits are near those of float32, and not the same."""
    artifact = make("bert", "classification", 0.5)
    exact, rounded = opened(artifact, kind, "float32"), opened(artifact, kind, "bfloat16")
    assert furthest(rounded.run(inputs()), exact.run(inputs())) > 0


@pytest.mark.parametrize("kind", ["onnxruntime", "torch"])
def test_cuda_gives_the_same_logits(make: Callable[..., Artifact], kind: Kind) -> None:
    """On a machine that has it."""
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if not (torch.cuda.is_available() if kind == "torch" else there):
        pytest.skip(f"no CUDA device that {kind} could use")
    artifact = make("bert", "classification", 0.5)
    wanted = opened(artifact, "onnxruntime", "float32").run(inputs())
    runtime = opened(artifact, kind, "float32", "cuda")
    assert furthest(runtime.run(inputs()), wanted) < 1e-3
    self_check(runtime, artifact)


@pytest.mark.parametrize(
    ("kind", "device", "precision", "says"),
    [
        ("onnxruntime", "cpu", "bfloat16", "set precision float32, or runtime openvino"),
        ("openvino", "cuda", "float32", "set device cpu, or runtime onnxruntime or torch"),
        ("onnxruntime", "cuda", "float32", "onnxruntime-gpu"),
        ("torch", "cuda", "float32", "set device cpu"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_remedy(
    make: Callable[..., Artifact], kind: Kind, device: Device, precision: Precision, says: str
) -> None:
    """In one line."""
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(Unavailable) as error:
        open_runtime(make("bert", "classification", 0.5), kind, device, precision, 1)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_runtime_that_is_not_installed_is_named(
    make: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "service.runtimes.openvino_runtime", raising=False)
    with pytest.raises(Unavailable, match=r"pip install 'pgb-serve\[openvino\]'"):
        open_runtime(make("bert", "classification", 0.5), "openvino", "cpu", "float32", 1)


def test_pytorch_needs_the_weights(artifacts: tuple[Path, Path]) -> None:
    """And says how to get them."""
    with pytest.raises(Unavailable, match="--weights"):
        open_runtime(open_artifact(artifacts[0]), "torch", "cpu", "float32", 1)


def shifted(check: dict[str, Any]) -> None:
    """One logit of the artifact's check is another."""
    check["inputs"][0]["logits"][0] += 0.01


def fewer(check: dict[str, Any]) -> None:
    """A logit is missing."""
    check["inputs"][0]["logits"].pop()


def nothing(check: dict[str, Any]) -> None:
    """There is no input."""
    check["inputs"].clear()


@pytest.mark.parametrize("spoil", [shifted, fewer, nothing])
def test_an_artifact_whose_check_does_not_hold_is_not_served(
    make: Callable[..., Artifact], tmp_path: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    """The files are whole and hashed, and the model is not what it was made to be."""
    artifact = make("bert", "classification", 0.5)
    files = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files}
    check = json.loads(files[CHECK])
    spoil(check)
    files[CHECK] = json.dumps(check).encode()
    other = write_artifact(tmp_path / "other", replace(artifact.manifest, files={}), files)
    with pytest.raises(Unavailable):
        self_check(open_runtime(other, "onnxruntime", "cpu", "float32", 1), other)


class Broken:
    """A runtime whose logits are not numbers."""

    device = "cpu"

    def run(self, batch: list[Tokens]) -> list[NDArray[np.float32]]:
        """NaN."""
        return [np.full(2, np.nan, np.float32) for _ in batch]

    def close(self) -> None:
        """Nothing to free."""


def test_logits_that_are_not_finite_are_refused(make: Callable[..., Artifact]) -> None:
    """Before any client sees them."""
    with pytest.raises(Unavailable, match="not finite"):
        self_check(Broken(), make("bert", "classification", 0.5))


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_a_server_runs_on_it(make: Callable[..., Artifact], kind: str) -> None:
    """From the setting to the answer."""
    import httpx

    artifact = make("bert", "classification", 0.5)
    with serving(artifact.path, "--runtime", kind, "--threads", "1") as (url, _):
        reply = httpx.post(f"{url}/v1/classify", json={"inputs": "the film was dull"})
        assert reply.status_code == 200
        shown = httpx.get(f"{url}/info").json()["models"][0]
        assert (shown["runtime"], shown["device"], shown["precision"]) == (kind, "cpu", "float32")


def test_a_server_that_cannot_have_its_runtime_says_so_and_ends(artifacts: tuple[Path, Path]) -> None:
    """One line and status 1."""
    command = [sys.executable, "-m", "service", str(artifacts[0]), "--precision", "bfloat16", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "set precision float32" in done.stderr.splitlines()[-1]
