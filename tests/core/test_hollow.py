"""Artifacts without weights, for timing where they were not trained."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import hollow
from benchmarks.hollow import emptied, filled
from pgb_core.artifact import open_artifact
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.pipeline import compress
from tests.core.small import checkpoint, settings


@pytest.mark.slow
def test_shapes_stay_and_large_weights_go(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is emptied and filled again opens in every form; only large weights differ, and of none the type."""
    monkeypatch.setattr(hollow, "LARGE", 512)  # the models are small
    model = checkpoint(tmp_path / "model", "bert", "classification")
    source = compress(settings(model, tmp_path / "small", texts, epochs=0.0, forms=("fp32", "int8"))).path
    emptied(source, tmp_path / "empty")
    filled(tmp_path / "empty", tmp_path / "full")
    for form, record in open_artifact(tmp_path / "full").manifest.forms.items():
        before, empty, full = (
            {t.name: numpy_helper.to_array(t) for t in onnx.load(path / record.file).graph.initializer}
            for path in (source, tmp_path / "empty", tmp_path / "full")
        )
        large = {name for name, values in before.items() if values.nbytes >= 512 and values.dtype != np.int64}
        assert large
        for name, values in before.items():
            assert full[name].shape == values.shape
            assert full[name].dtype == values.dtype
            assert np.array_equal(full[name], values) == (name not in large)
            assert name not in large or not empty[name].any()
        open_runtime(open_artifact(tmp_path / "full"), form, "cpu", 1).close()
