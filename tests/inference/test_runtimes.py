"""Every runtime gives the logits of the exported model, or says in one line why it cannot."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray

from pgb_core.artifact import CHECK, MODEL, Artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes import onnx_runtime
from pgb_core.inference.runtimes.base import Runtime, unpad
from pgb_core.inference.runtimes.registry import RUNTIMES, open_runtime
from pgb_core.inference.runtimes.selfcheck import self_check
from pgb_core.inference.tasks import CLASSIFICATION, QA
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores
from tests.conftest import CORE_ARCHITECTURES, TASKS
from tests.made import Make, rewritten

LENGTHS = (3, 17, 62, 5)
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05}
CHOICES: tuple[tuple[str, str], ...] = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("torch", "float32"),
    ("torch", "bfloat16"),
)


def opened(artifact: Artifact, kind: str, precision: str = "float32", device: str = "cpu") -> Runtime:
    """A runtime of one thread, or a skip where this machine has no such products."""
    try:
        return open_runtime(artifact, kind, device, precision, 1)
    except RuntimeUnavailable as error:
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


@pytest.mark.parametrize(("kind", "precision"), CHOICES)
@pytest.mark.parametrize("plan", ["dense", "grouped"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", CORE_ARCHITECTURES)
def test_all_runtimes_agree(make: Make, architecture: str, task: str, plan: str, kind: str, precision: str) -> None:
    """In one batch or one by one, and each passes the artifact's own check."""
    artifact = make(architecture, task, plan)
    reference = opened(artifact, "onnxruntime")
    wanted = [reference.run([item])[0] for item in inputs()]
    largest = max(1.0, *(float(np.abs(row).max()) for row in wanted))
    allowed = TOLERANCES[precision] * (largest if precision == "bfloat16" else 1)
    runtime = opened(artifact, kind, precision)
    assert furthest(runtime.run(inputs()), wanted) < allowed
    assert furthest(runtime.run(inputs()[1:2]), wanted[1:2]) < allowed
    self_check(runtime, artifact, precision)
    runtime.close()


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("task", TASKS)
def test_the_form_for_a_gpu_gives_the_same_logits_on_a_cpu(make: Make, task: str, kind: str) -> None:
    """So that it is tested where there is no GPU."""
    wanted = opened(make(task=task), "onnxruntime").run(inputs())
    artifact = make(task=task, target="gpu")
    assert artifact.manifest.files[MODEL] != make(task=task).manifest.files[MODEL]
    runtime = opened(artifact, kind)
    assert furthest(runtime.run(inputs()), wanted) < TOLERANCES["float32"]
    self_check(runtime, artifact)


@pytest.mark.parametrize("kind", ["openvino", "torch"])
def test_bfloat16_is_another_precision(make: Make, kind: str) -> None:
    """Its logits are near those of float32, and further than another order of additions brings them."""
    exact, rounded = opened(make(), kind), opened(make(), kind, "bfloat16")
    assert furthest(rounded.run(inputs()), exact.run(inputs())) > TOLERANCES["float32"]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize(
    ("kind", "precision"), [("onnxruntime", "float32"), ("torch", "float32"), ("torch", "bfloat16")]
)
def test_cuda_gives_the_same_logits(make: Make, kind: str, precision: str, target: str) -> None:
    """On a machine that has it."""
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if not torch.cuda.is_available() or (kind == "onnxruntime" and not there):
        pytest.skip(f"no CUDA device that {kind} could use")
    for task in TASKS:
        wanted = opened(make(task=task), "onnxruntime").run(inputs())
        artifact = make(task=task, target=target)
        runtime = opened(artifact, kind, precision, "cuda")
        assert runtime.device == "cuda"
        self_check(runtime, artifact, precision)
        allowed = 1e-3 if precision == "float32" else TOLERANCES[precision] * max(np.abs(row).max() for row in wanted)
        assert furthest(runtime.run(inputs()), wanted) < allowed


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "torch"])
def test_threads_are_as_many_as_were_asked_for(make: Make, kind: str) -> None:
    """By default those that this process may use."""
    assert open_runtime(make(), kind, "cpu", "float32", 3).threads == 3
    assert open_runtime(make(), kind, "cpu", "float32", 0).threads == usable_cores()


def test_pytorch_runs_on_its_threads_wherever_it_is_called(make: Make) -> None:
    """PyTorch has a number for each thread that calls it."""
    runtime = open_runtime(make(), "torch", "cpu", "float32", 1)
    seen: list[int] = []

    def call() -> None:
        torch.set_num_threads(2)
        runtime.run(inputs())
        seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    caller = threading.Thread(target=call)
    caller.start()
    caller.join()
    torch.set_num_threads(before)
    assert seen == [1]


@pytest.mark.parametrize(
    ("kind", "device", "precision", "says"),
    [
        ("onnxruntime", "cpu", "bfloat16", "set precision float32, or runtime openvino"),
        ("openvino", "cuda", "float32", "set device cpu, or runtime onnxruntime or torch"),
        ("onnxruntime", "cuda", "float32", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        ("torch", "cuda", "float32", "set device cpu, or install a CUDA build of torch"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_remedy(
    make: Make, kind: str, device: str, precision: str, says: str
) -> None:
    """In one line."""
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(RuntimeUnavailable) as error:
        open_runtime(make(), kind, device, precision, 1)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "missing", "extra"),
    [
        ("onnxruntime", "onnxruntime", "pgb-serve"),
        ("openvino", "openvino", r"pgb-serve\[openvino\]"),
        ("torch", "torch", r"pgb-serve\[torch\]"),
        ("torch", "safetensors", r"pgb-serve\[torch\]"),
    ],
)
def test_a_runtime_that_is_not_installed_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, kind: str, missing: str, extra: str
) -> None:
    """With what brings it."""
    artifact = make()
    monkeypatch.setitem(sys.modules, missing, None)
    for loaded in (RUNTIMES[kind].module, "pgb_core.model.rebuild"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    with pytest.raises(RuntimeUnavailable, match=f"{missing} is not installed; pip install '{extra}'"):
        open_runtime(artifact, kind, "cpu", "float32", 1)


def test_a_processor_without_bfloat16_is_said_to_have_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO would take the hint and compute in float32."""
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(RuntimeUnavailable, match="no bfloat16 products; set precision float32"):
        open_runtime(make(), "openvino", "cpu", "bfloat16", 1)


def test_cuda_that_does_not_start_is_not_replaced_by_the_cpu(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would go on without a word."""
    monkeypatch.setattr(onnx_runtime, "_providers", lambda device: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailable, match="could not start it; check driver, CUDA and cuDNN, or set device cpu"):
        open_runtime(make(), "onnxruntime", "cuda", "float32", 1)


def test_auto_takes_the_cpu_where_there_is_no_other_device(make: Make) -> None:
    """And says that it did."""
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    for kind in ("onnxruntime", "openvino", "torch"):
        assert open_runtime(make(), kind, "auto", "float32", 1).device == "cpu"


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_graph_that_is_none_is_refused(make: Make, tmp_path: Path, kind: str) -> None:
    """In one line, whatever the runtime says of it."""
    artifact = rewritten(make(), tmp_path / "other", {MODEL: b"a graph"})
    with pytest.raises(RuntimeUnavailable, match="the graph") as error:
        open_runtime(artifact, kind, "cpu", "float32", 1)
    assert "\n" not in str(error.value)


def test_pytorch_needs_the_weights(make: Make, tmp_path: Path) -> None:
    """And says how to get them."""
    artifact = rewritten(make(), tmp_path / "other", {"weights.safetensors": None})
    with pytest.raises(RuntimeUnavailable, match="--weights"):
        open_runtime(artifact, "torch", "cpu", "float32", 1)


def shifted(check: dict[str, Any]) -> None:
    """One logit of the artifact's check is another."""
    check["inputs"][0]["logits"][0] += 0.01


def fewer(check: dict[str, Any]) -> None:
    """A logit is missing."""
    check["inputs"][0]["logits"].pop()


def nothing(check: dict[str, Any]) -> None:
    """There is no input."""
    check["inputs"].clear()


def renamed(check: dict[str, Any]) -> None:
    """A field is called otherwise."""
    check["given"] = check.pop("inputs")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(shifted, "off the artifact's own"), (fewer, "does not fit"), (nothing, "does not fit"), (renamed, "be read")],
)
def test_an_artifact_whose_check_does_not_hold_is_not_served(
    make: Make, tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    """The files are whole and hashed, and the model is not what it was made to be."""
    artifact = make()
    check = json.loads((artifact.path / CHECK).read_text())
    spoil(check)
    other = rewritten(artifact, tmp_path / "other", {CHECK: json.dumps(check).encode()})
    with pytest.raises(RuntimeUnavailable, match=says):
        self_check(opened(other, "onnxruntime"), other)


class Broken:
    """A runtime that gives every input these logits, or raises them."""

    device = "cpu"
    threads = 1

    def __init__(self, logits: NDArray[np.float32] | Exception) -> None:
        self._logits = logits

    def run(self, batch: list[Tokens]) -> list[NDArray[np.float32]]:
        """The same for every input."""
        if isinstance(self._logits, Exception):
            raise self._logits
        return [self._logits for _ in batch]

    def close(self) -> None:
        """Nothing to free."""


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        (np.full(2, np.nan, np.float32), "not finite"),
        (np.full(2, np.inf, np.float32), "not finite"),
        (np.zeros(3, np.float32), "shapes"),
        (np.zeros((2, 2), np.float32), "shapes"),
        (RuntimeError("out of memory"), "fails on the artifact's check"),
    ],
)
def test_a_runtime_that_answers_nonsense_is_refused(
    make: Make, logits: NDArray[np.float32] | Exception, says: str
) -> None:
    """Before any client sees it."""
    artifact = make()
    assert self_check(opened(artifact, "onnxruntime"), artifact) < 1e-3
    with pytest.raises(RuntimeUnavailable, match=says):
        self_check(Broken(logits), artifact)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_answer_is_made_of_what_is_not_a_number(value: float) -> None:
    """In one output or the other, of one input of several."""
    batch = [Tokens([1, 2], [0, 0]), Tokens([3], [0])]
    single, double = [np.zeros((2, 3), np.float32)], [np.zeros((2, 2), np.float32) for _ in range(2)]
    for task, outputs in ((CLASSIFICATION, single), (QA, double)):
        assert len(unpad(task, outputs, batch)) == 2
        outputs[-1][1, 0] = value
        with pytest.raises(ArithmeticError):
            unpad(task, outputs, batch)


def test_bfloat16_may_be_off_by_a_share_of_the_largest_logit(make: Make, tmp_path: Path) -> None:
    """What float32 would be refused for passes; what is off by more does not."""
    artifact = make()
    check = json.loads((artifact.path / CHECK).read_text())
    largest = max(1.0, *(abs(n) for entry in check["inputs"] for n in entry["logits"]))
    runtime = opened(artifact, "onnxruntime")
    for share, fine in ((0.14, True), (0.16, False)):
        moved = json.loads(json.dumps(check))
        moved["inputs"][0]["logits"] = [n - np.copysign(share * largest, n) for n in moved["inputs"][0]["logits"]]
        other = rewritten(artifact, tmp_path / str(share), {CHECK: json.dumps(moved).encode()})
        with pytest.raises(RuntimeUnavailable):
            self_check(runtime, other)
        if fine:
            assert self_check(runtime, other, "bfloat16") == pytest.approx(share * largest, rel=0.01)
        else:
            with pytest.raises(RuntimeUnavailable):
                self_check(runtime, other, "bfloat16")
