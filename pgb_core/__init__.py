"""Offline compression of fine-tuned BERT-family encoders by permutation and grouping (PGB)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgb_core.inference.load import Loaded
    from pgb_core.model.encoder import Encoder

__version__ = "0.2.0"

# ONNX Runtime reports its use over the network unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(
    path: str | Path,
    form: str = "auto",
    device: str = "cpu",
    threads: int = 0,
    runtime: str = "auto",
) -> Loaded:
    """An artifact that labels texts or answers questions in this process; see `pgb_core.inference.load.load`.

    It is imported when it is called: every module here imports this package first, and most need neither NumPy nor
    `tokenizers`, which take a good part of the time in which the command line answers.
    """
    from pgb_core.inference.load import load as load_whole

    return load_whole(path, form, device, threads, runtime)


def module(path: str | Path) -> Encoder:
    """The compact model of an artifact as a `torch.nn.Module`, on CPU in float32, to be trained on or looked into.

    Called with `input_ids`, `attention_mask` and `token_type_ids`, [batch, tokens] each, it gives logits, [batch,
    labels], or [batch, tokens, 2] for starts and ends of answers. Needs the extra `torch`, and an artifact that carries
    the form `torch`. Raises ArtifactError when it does not, or is not whole; ImportError without PyTorch.
    """
    from pgb_core.artifact import open_artifact
    from pgb_core.hub import located
    from pgb_core.model.rebuild import encoder_of

    return encoder_of(open_artifact(located(path)))
