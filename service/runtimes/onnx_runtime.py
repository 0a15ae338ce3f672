"""ONNX Runtime on CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from pgb_core.artifact import Artifact
from pgb_core.machine import usable_cores
from service.errors import Unavailable
from service.runtimes.protocol import Logits, pad
from service.tokenizer import Tokens


class OnnxRuntime:
    """One session. Idle threads do not spin, so several models share the cores."""

    def __init__(self, artifact: Artifact, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(artifact.model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes are not exported
            raise Unavailable(f"{artifact.manifest.name}: the graph does not load") from error
        self._inputs = artifact.manifest.inputs
        self._outputs = list(artifact.manifest.outputs)
        self._pad_id = artifact.manifest.pad_id

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        arrays = pad(batch, self._pad_id)
        found = self._session.run(self._outputs, {name: arrays[name] for name in self._inputs})
        if len(found) == 1:
            return list(found[0])
        stacked = np.stack(found, axis=-1)
        return [stacked[row, : len(tokens)] for row, tokens in enumerate(batch)]

    def close(self) -> None:
        """Drop the session."""
        del self._session
