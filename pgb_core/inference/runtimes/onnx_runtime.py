"""ONNX Runtime, on CPU or CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime

from pgb_core.artifact import Artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Setup, pad, unpad
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntime:
    """One session. Idle threads do not spin, so several models share the cores."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        manifest = artifact.manifest
        self.threads = setup.threads or usable_cores()
        options = session_options(self.threads)
        providers = _providers(setup.device)
        try:
            self._session = onnxruntime.InferenceSession(str(artifact.graph(setup.form)), options, providers=providers)
        except Exception as error:  # onnxruntime's own classes are not exported
            raise RuntimeUnavailable(f"{manifest.name}: the graph does not load") from error
        if setup.device == "cuda" and _CUDA not in self._session.get_providers():  # it falls back without a word
            raise RuntimeUnavailable(
                "onnxruntime has CUDA but could not start it; check driver, CUDA and cuDNN, or set device cpu"
            )
        self.device = "cuda" if _CUDA in self._session.get_providers() else "cpu"
        self._running = onnxruntime.RunOptions()
        self._manifest = manifest

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        manifest = self._manifest
        arrays = pad(batch, manifest.pad_id)
        feed = {name: arrays[name] for name in manifest.inputs}
        return unpad(TASKS[manifest.task], self._session.run(manifest.outputs, feed, self._running), batch)

    def stop(self) -> None:
        """See `Runtime`. Every node looks at it before it runs, those of a loop at each turn."""
        self._running.terminate = True

    def close(self) -> None:
        """Drop the session."""
        del self._session


def session_options(threads: int, spinning: bool = False) -> Any:
    """One pool of so many threads, which sleep while they have nothing to do, or look for work all the time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return options


def _providers(device: str) -> list[Any]:
    """What to try, in order. Raises RuntimeUnavailable when this build has no CUDA."""
    if device == "cpu":
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        if device == "auto":
            return [_CPU]
        raise RuntimeUnavailable(
            "this onnxruntime has no CUDA; pip uninstall -y onnxruntime onnxruntime-gpu, "
            "then pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    onnxruntime.preload_dlls()  # CUDA and cuDNN as PyPI packages are found in no search path
    return [(_CUDA, {"use_tf32": "0"}), _CPU]  # TF32 keeps 10 bits: not what float32 says
