"""The `config.pbtxt` that Triton is given."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from pgb_core import cli
from pgb_core.errors import ArtifactError, ConfigError
from pgb_core.triton import config
from tests.conftest import ARCHITECTURES
from tests.made import Make


def tensors(said: str, field: str) -> Mapping[str, tuple[str, str]]:
    """Type and dimensions of each, by name."""
    (block,) = re.findall(rf"^{field} \[\n(.*?)^\]$", said, re.MULTILINE | re.DOTALL)
    entries = re.findall(r'\{\n +name: "(\w+)"\n +data_type: (\w+)\n +dims: \[([-\d, ]+)\]\n +\}', block)
    return {name: (kind, dims) for name, kind, dims in entries}


@pytest.mark.parametrize("task", ["classification", "qa"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_inputs_and_outputs_are_those_of_the_graph(make: Make, architecture: str, task: str) -> None:
    """By name, type and shape without the batch; requests may be batched."""
    import onnxruntime

    artifact = make(architecture, task)
    said = config(artifact)
    session = onnxruntime.InferenceSession(str(artifact.graph("fp32")), providers=["CPUExecutionProvider"])
    kinds = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}
    for field, found in (("input", session.get_inputs()), ("output", session.get_outputs())):
        wanted = {
            each.name: (kinds[each.type], ", ".join(str(n) if isinstance(n, int) else "-1" for n in each.shape[1:]))
            for each in found
        }
        assert tensors(said, field) == wanted
    lines = said.splitlines()
    for line in (f'name: "{artifact.manifest.name}"', 'backend: "onnxruntime"', 'default_model_filename: "model.onnx"'):
        assert line in lines
    assert "max_batch_size: 32" in lines
    assert "dynamic_batching {" in lines
    assert "    kind: KIND_CPU" in lines
    assert said.count("{") == said.count("}")


def test_it_is_for_a_form_that_the_backend_runs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """One is named, or the first is taken; the command prints it."""
    artifact = make(form="gpu")
    said = config(artifact, "gpu")
    assert 'default_model_filename: "model-gpu.onnx"' in said
    assert "kind: KIND_GPU" in said
    with pytest.raises(ConfigError, match="has fp32, gpu for ONNX Runtime"):
        config(artifact, "torch")
    with pytest.raises(ArtifactError, match="carries no form 'int8'"):
        config(artifact, "int8")
    assert cli.main(["inspect", str(artifact.path), "--triton", "--form", "gpu"]) == 0
    assert capsys.readouterr().out == said


def test_without_a_graph_there_is_nothing_to_say(make: Make) -> None:
    """And the message says what makes one."""
    with pytest.raises(ConfigError, match="has no form for ONNX Runtime; pgb compress --forms fp32"):
        config(make(forms=("torch",)))
