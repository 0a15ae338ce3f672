"""Offline compression of fine-tuned BERT-family encoders by permutation and grouping (PGB)."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use over the network unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
