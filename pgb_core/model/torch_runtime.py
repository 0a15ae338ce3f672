"""A runtime: PyTorch on CPU or CUDA, from the artifact's plan and weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pgb_core.artifact import Artifact
from pgb_core.errors import PGBError
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.base import Setup, check_finite
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import usable_cores
from pgb_core.model.predict import torch_predictor
from pgb_core.model.rebuild import encoder_of
from pgb_core.model.surgery import merge_groups

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TorchRuntime:
    """The module itself, cast as a whole; norms and softmax still add up in float32."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        device = _device(setup.device)
        self.device = device.type
        self.threads = setup.threads or usable_cores()
        try:
            model = encoder_of(artifact)
        except PGBError as error:
            raise RuntimeUnavailable(str(error)) from error
        merge_groups(model)
        self._predict = torch_predictor(
            model.requires_grad_(False).to(device, _DTYPES[artifact.form(setup.form).numbers])
        )

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """See `Runtime`."""
        torch.set_num_threads(self.threads)  # holds for the thread that says it
        with torch.inference_mode():
            logits = self._predict(batch)
        check_finite(logits)
        return logits

    def stop(self) -> None:
        """PyTorch runs to the end."""

    def close(self) -> None:
        """Drop the module."""
        del self._predict


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RuntimeUnavailable("PyTorch sees no CUDA device here; set device cpu, or install a CUDA build of torch")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
