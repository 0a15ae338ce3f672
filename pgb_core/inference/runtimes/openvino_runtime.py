"""OpenVINO on CPU."""

from __future__ import annotations

from collections.abc import Sequence

import openvino

from pgb_core.artifact import Artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Setup, pad, unpad
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores

# Inputs of products in int8 whose range is not known get a scale for so many channels of a token. Where a map reads
# fewer, they are not quantised.
_GROUP = 64


class OpenVinoRuntime:
    """One compiled graph and one request, used again and again."""

    device = "cpu"

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        manifest = artifact.manifest
        self.threads = setup.threads or usable_cores()
        core = openvino.Core()
        numbers = artifact.form(setup.form).numbers
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if numbers == "bfloat16" and not has_bf16:
            raise RuntimeUnavailable("this CPU has no bfloat16 products; choose another form")
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if numbers != "float32" and has_bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,  # several models share the cores
        }
        if numbers == "int8":
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = _GROUP
        try:
            compiled = core.compile_model(str(artifact.graph(setup.form)), "CPU", settings)
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"{manifest.name}: openvino {openvino.__version__} does not take the graph of form "
                f"{setup.form} ({', '.join(artifact.form(setup.form).contrib_ops) or 'operators of ONNX alone'}); "
                "choose another form or upgrade openvino"
            ) from error
        self._request = compiled.create_infer_request()
        self._manifest = manifest

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        manifest = self._manifest
        arrays = pad(batch, manifest.pad_id)
        found = self._request.infer({name: arrays[name] for name in manifest.inputs})
        return unpad(TASKS[manifest.task], [found[name] for name in manifest.outputs], batch)

    def stop(self) -> None:
        """See `Runtime`."""
        self._request.cancel()

    def close(self) -> None:
        """Drop request and graph."""
        del self._request
