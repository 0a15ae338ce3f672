"""Times one ONNX graph in OpenVINO; `--` like `pgb_core.bench`, one JSON request, one JSON answer."""

from __future__ import annotations

import functools
import json
import sys

from pgb_core.bench import median_milliseconds, random_feed


def main() -> None:
    """Compile in bfloat16 and time every shape."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports every import
    import openvino

    request = json.loads(sys.argv[1])
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": request["threads"],
    }
    compiled = core.compile_model(request["model"], "CPU", settings)
    names = [port.any_name for port in compiled.inputs]
    found = []
    for batch, length in request["shapes"]:
        run = functools.partial(compiled, random_feed(names, (batch, length)))
        found.append(((batch, length), median_milliseconds(run, request["seconds"])))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
