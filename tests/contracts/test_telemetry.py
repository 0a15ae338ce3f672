"""Nothing reports the use of this software to anyone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["pgb_core.inference.runtimes.onnx_runtime", "pgb_core.session"])
def test_onnx_runtime_keeps_no_identifier_of_the_machine(module: str, tmp_path: Path) -> None:
    """Its telemetry writes one into the home directory when it starts."""
    # Inside CI, as it recognises it, and in unit tests it would stay quiet by itself.
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    code = f"import {module}, onnxruntime; onnxruntime.get_available_providers(); onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_openvino_keeps_no_identifier_of_the_machine(tmp_path: Path) -> None:
    """Its telemetry writes one into the home directory, and sends it, when it is imported."""
    pytest.importorskip("openvino_telemetry")
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", "import pgb_core.inference.runtimes.openvino_runtime"], env=env, check=True)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
