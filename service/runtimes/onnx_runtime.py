"""ONNX Runtime, on CPU or CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime

from pgb_core.artifact import Artifact
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores
from service.errors import Unavailable
from service.runtimes.protocol import Device, pad, unpad

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntime:
    """One session. Idle threads do not spin unless asked to, so several models share the cores."""

    def __init__(self, artifact: Artifact, device: Device = "cpu", threads: int = 0, spinning: bool = False) -> None:
        manifest = artifact.manifest
        options = onnxruntime.SessionOptions()
        self.threads = threads or usable_cores()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        providers = _providers(device)
        try:
            self._session = onnxruntime.InferenceSession(str(artifact.model), options, providers=providers)
        except Exception as error:  # onnxruntime's own classes are not exported
            raise Unavailable(f"{manifest.name}: the graph does not load") from error
        if device == "cuda" and _CUDA not in self._session.get_providers():  # it falls back without a word
            raise Unavailable(
                "onnxruntime has CUDA but could not start it; check driver, CUDA and cuDNN, or set device cpu"
            )
        self.device = "cuda" if _CUDA in self._session.get_providers() else "cpu"
        self._running = onnxruntime.RunOptions()
        self._inputs = manifest.inputs
        self._outputs = list(manifest.outputs)
        self._pad_id = manifest.pad_id

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        arrays = pad(batch, self._pad_id)
        feed = {name: arrays[name] for name in self._inputs}
        return unpad(self._session.run(self._outputs, feed, self._running), batch)

    def stop(self) -> None:
        """See `Runtime`. Every node looks at it before it runs, those of a loop at each turn."""
        self._running.terminate = True

    def close(self) -> None:
        """Drop the session."""
        del self._session


def _providers(device: Device) -> list[Any]:
    """What to try, in order. Raises Unavailable when this build has no CUDA."""
    if device == "cpu":
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        if device == "auto":
            return [_CPU]
        raise Unavailable(
            "this onnxruntime has no CUDA; pip uninstall -y onnxruntime onnxruntime-gpu, "
            "then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    onnxruntime.preload_dlls()  # CUDA and cuDNN as PyPI packages are found in no search path
    return [(_CUDA, {"use_tf32": "0"}), _CPU]  # TF32 keeps 10 bits: not what float32 says
