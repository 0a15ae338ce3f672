"""Inference service for pgb artifacts: classification and extractive question answering over HTTP."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("pgb-serve")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0"
