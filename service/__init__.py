"""Inference service for pgb artifacts: classification and extractive question answering over HTTP."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pgb-serve")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"

# ONNX Runtime reports its use over the network unless it is told not to before it is imported. OpenVINO reports
# even that it was imported, unless the package with which it does so is missing.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
