"""Runs one ONNX graph in OpenVINO, in bfloat16: a worker of `pgb_core.measure.bench`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from pgb_core.measure.bench import Shape, random_feed, work


def openvino_bf16(model: str, threads: int) -> Callable[[Shape], Callable[[], object]]:
    """Compile, and give what makes a call of a shape."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports every import
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = core.compile_model(model, "CPU", settings)
    names = [port.any_name for port in compiled.inputs]
    return lambda shape: functools.partial(compiled, random_feed(names, shape))


if __name__ == "__main__":
    work(openvino_bf16)
