"""Every runtime gives the logits of the exported model, or says in one line why it cannot."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from numpy.typing import NDArray

from pgb_core.artifact import CHECK, MODEL, Artifact
from pgb_core.export.forms import FORMS
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes import onnx_runtime
from pgb_core.inference.runtimes.base import Runtime, unpad
from pgb_core.inference.runtimes.registry import RUNTIMES, open_runtime
from pgb_core.inference.runtimes.selfcheck import self_check
from pgb_core.inference.tasks import CLASSIFICATION, QA
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores
from pgb_core.model.predict import torch_predictor
from pgb_core.model.rebuild import encoder_of
from tests.conftest import CORE_ARCHITECTURES, TASKS
from tests.made import PLANS, Make, rewritten

LENGTHS = (3, 17, 62, 5)
EXACT = 1e-4
LOW = 0.15  # of the largest logit: how far low precision takes those of a random model
# Every form in every runtime that takes it.
CHOICES = tuple((form.name, runtime) for form in FORMS.values() for runtime in form.runtimes)
FORM = {"onnxruntime": "fp32", "openvino": "fp32", "torch": "torch"}  # in float32, of each runtime


def opened(artifact: Artifact, form: str = "fp32", kind: str | None = None, device: str = "cpu") -> Runtime:
    """A runtime of one thread, or a skip where this machine has no such products."""
    try:
        return open_runtime(artifact, form, device, 1, kind)
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


def allowed(form: str, wanted: list[NDArray[np.float32]]) -> float:
    """How far the logits of a form may be from these."""
    if FORMS[form].limits is None:
        return EXACT
    return LOW * max(1.0, *(float(np.abs(row).max()) for row in wanted))


@pytest.mark.parametrize(("form", "kind"), CHOICES)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", CORE_ARCHITECTURES)
def test_every_form_gives_the_model_s_logits(
    make: Make, architecture: str, task: str, plan: str, form: str, kind: str
) -> None:
    """In every runtime that takes it: in one padded batch or one by one; and it passes the artifact's own check."""
    artifact = make(architecture, task, plan, form)
    model = torch_predictor(encoder_of(artifact))
    wanted = [model([item])[0] for item in inputs()]
    runtime = opened(artifact, form, kind)
    assert furthest(runtime.run(inputs()), wanted) < allowed(form, wanted)
    for item, row in zip(inputs(), wanted, strict=True):
        assert furthest(runtime.run([item]), [row]) < allowed(form, wanted)
    self_check(runtime, artifact, form)
    runtime.close()


@pytest.mark.parametrize(("form", "kind"), CHOICES)
@pytest.mark.parametrize("task", TASKS)
def test_every_form_writes_fixed_attention(make: Make, task: str, form: str, kind: str) -> None:
    """With inputs of mixed lengths in a batch, whose padding nobody reads, or one by one."""
    artifact = make("bert", task, "patterned", forms=tuple(FORMS))
    model = torch_predictor(encoder_of(artifact))
    runtime = opened(artifact, form, kind)
    wanted = [model([item])[0] for item in inputs()]
    assert furthest(runtime.run(inputs()), wanted) < allowed(form, wanted)
    for item, row in zip(inputs(), wanted, strict=True):
        assert furthest(runtime.run([item]), [row]) < allowed(form, wanted)
    runtime.close()


@pytest.mark.parametrize("task", TASKS)
def test_the_form_for_a_gpu_is_another_graph(make: Make, task: str) -> None:
    """Beside that for a CPU, in one artifact."""
    artifact = make(task=task, form="gpu")
    assert artifact.graph("gpu").read_bytes() != artifact.graph("fp32").read_bytes()


@pytest.mark.parametrize(("form", "exact"), [("openvino", "fp32"), ("torch-bf16", "torch"), ("int8", "fp32")])
def test_low_precision_is_another_precision(make: Make, form: str, exact: str) -> None:
    """Its logits are near those of float32, and further than another order of additions brings them."""
    artifact = make(form=form)
    wanted = opened(artifact, exact).run(inputs())
    assert furthest(opened(artifact, form).run(inputs()), wanted) > EXACT


@pytest.mark.parametrize("form", ["fp32", "gpu", "torch", "torch-bf16"])
def test_cuda_gives_the_same_logits(make: Make, form: str) -> None:
    """On a machine that has it."""
    kind = FORMS[form].runtimes[0]
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if not torch.cuda.is_available() or (kind == "onnxruntime" and not there):
        pytest.skip(f"no CUDA device that {kind} could use")
    for task in TASKS:
        artifact = make(task=task, form=form)
        wanted = opened(artifact).run(inputs())
        runtime = opened(artifact, form, device="cuda")
        assert runtime.device == "cuda"
        self_check(runtime, artifact, form)
        assert furthest(runtime.run(inputs()), wanted) < max(1e-3, allowed(form, wanted))


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino", "torch"])
def test_threads_are_as_many_as_were_asked_for(make: Make, kind: str) -> None:
    """By default those that this process may use."""
    assert open_runtime(make(), FORM[kind], "cpu", 3, kind).threads == 3
    assert open_runtime(make(), FORM[kind], "cpu", 0, kind).threads == usable_cores()


def test_pytorch_runs_on_its_threads_wherever_it_is_called(make: Make) -> None:
    """PyTorch has a number for each thread that calls it."""
    runtime = open_runtime(make(), "torch", "cpu", 1)
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
    ("form", "kind", "device", "says"),
    [
        ("int8", "onnxruntime", "cpu", "carries no form int8, only fp32, torch; choose one of these; pgb compress"),
        ("fp32", "torch", "cpu", "form fp32 is for runtime onnxruntime or openvino, not for torch"),
        ("fp32", "magic", "cpu", "there is no runtime magic; choose one of onnxruntime, openvino, torch"),
        ("fp32", "openvino", "cuda", "openvino runs on the CPU only; set device cpu, or choose another form"),
        ("fp32", "onnxruntime", "cuda", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        ("torch", "torch", "cuda", "set device cpu, or install a CUDA build of torch"),
    ],
)
def test_what_cannot_be_had_is_refused_with_a_remedy(make: Make, form: str, kind: str, device: str, says: str) -> None:
    """In one line."""
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(RuntimeUnavailable) as error:
        open_runtime(make(), form, device, 1, kind)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "missing", "extra"),
    [
        ("onnxruntime", "onnxruntime", r"\."),
        ("openvino", "openvino", r"\.\[openvino\]"),
        ("torch", "torch", r"\.\[torch\]"),
        ("torch", "safetensors", r"\.\[torch\]"),
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
        open_runtime(artifact, FORM[kind], "cpu", 1, kind)


def test_a_processor_without_bfloat16_is_said_to_have_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO would take the hint and compute in float32."""
    artifact = make(form="openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(RuntimeUnavailable, match="no bfloat16 products; choose another form"):
        open_runtime(artifact, "openvino", "cpu", 1)


def test_cuda_that_does_not_start_is_not_replaced_by_the_cpu(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would go on without a word."""
    monkeypatch.setattr(onnx_runtime, "_providers", lambda device: ["CPUExecutionProvider"])
    with pytest.raises(RuntimeUnavailable, match="could not start it; check driver, CUDA and cuDNN, or set device cpu"):
        open_runtime(make(), "fp32", "cuda", 1)


def test_auto_takes_the_cpu_where_there_is_no_other_device(make: Make) -> None:
    """And says that it did."""
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    for kind in ("onnxruntime", "openvino", "torch"):
        assert open_runtime(make(), FORM[kind], "auto", 1, kind).device == "cpu"


@pytest.mark.parametrize("kind", ["onnxruntime", "openvino"])
def test_a_graph_that_is_none_is_refused(make: Make, tmp_path: Path, kind: str) -> None:
    """In one line, whatever the runtime says of it."""
    artifact = rewritten(make(), tmp_path / "other", {MODEL: b"a graph"})
    with pytest.raises(RuntimeUnavailable, match="the graph") as error:
        open_runtime(artifact, FORM[kind], "cpu", 1, kind)
    assert "\n" not in str(error.value)


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
        self_check(opened(other), other)


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
    assert self_check(opened(artifact), artifact) < 1e-3
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


def test_a_form_may_be_off_by_its_share_of_the_largest_logit(make: Make, tmp_path: Path) -> None:
    """Its own tolerance decides; what is off by more does not pass."""
    artifact = make()
    check = json.loads((artifact.path / CHECK).read_text())
    largest = max(1.0, *(abs(n) for entry in check["inputs"] for n in entry["logits"]))
    runtime = opened(artifact)
    strict = artifact.form("fp32")
    for share, fine in ((0.14, True), (0.16, False)):
        moved = json.loads(json.dumps(check))
        moved["inputs"][0]["logits"] = [n - np.copysign(share * largest, n) for n in moved["inputs"][0]["logits"]]
        files: dict[str, bytes | None] = {CHECK: json.dumps(moved).encode()}
        with pytest.raises(RuntimeUnavailable, match="of form fp32; choose another form or runtime"):
            self_check(runtime, rewritten(artifact, tmp_path / f"{share}-strict", files))
        forms = {**artifact.manifest.forms, "fp32": replace(strict, tolerance=0.15)}
        wide = rewritten(artifact, tmp_path / f"{share}-wide", files, forms=forms)
        if fine:
            assert self_check(runtime, wide) == pytest.approx(share * largest, rel=0.01)
        else:
            with pytest.raises(RuntimeUnavailable):
                self_check(runtime, wide)
