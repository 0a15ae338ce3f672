"""The runtime that was asked for, imported only then."""

from __future__ import annotations

from pgb_core.artifact import Artifact
from service.errors import Unavailable
from service.runtimes.protocol import Device, Kind, Precision, Runtime

_PACKAGES = {"onnxruntime": "pgb-serve", "openvino": "pgb-serve[openvino]", "torch": "pgb-serve[torch]"}


def open_runtime(artifact: Artifact, kind: Kind, device: Device, precision: Precision, threads: int) -> Runtime:
    """Load an artifact. device: auto takes CUDA where the runtime has it. threads: 0 takes all usable cores.

    Raises Unavailable when the runtime is not installed, cannot do what is asked, or does not take the model.
    """
    if kind == "onnxruntime" and precision != "float32":
        raise Unavailable(f"{kind} runs these graphs in float32 only; set precision float32, or runtime openvino")
    if kind == "openvino" and device == "cuda":
        raise Unavailable(f"{kind} runs on the CPU only; set device cpu, or runtime onnxruntime or torch")
    try:
        if kind == "onnxruntime":
            from service.runtimes.onnx_runtime import OnnxRuntime

            return OnnxRuntime(artifact, device, threads)
        if kind == "openvino":
            from service.runtimes.openvino_runtime import OpenVinoRuntime

            return OpenVinoRuntime(artifact, precision, threads)
        from service.runtimes.torch_runtime import TorchRuntime

        return TorchRuntime(artifact, device, precision, threads)
    except ModuleNotFoundError as error:
        raise Unavailable(f"{error.name} is not installed; pip install '{_PACKAGES[kind]}'") from error
    except ImportError as error:
        raise Unavailable(f"{kind} does not load ({error}); pip install --force-reinstall {kind}") from error
