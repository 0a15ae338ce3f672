"""Infinity with its engine for ONNX."""

import os
from typing import Any

from benchmarks.peers.inside.classifier import FILES
from benchmarks.peers.rival import ENGINES, POSITIVE, Place, Rival

_OTHERS = ("config.json", "tokenizer.json", "tokenizer_config.json")


def _files(place: Place) -> None:
    """The folder in which it is started, with one graph: it finds that of no other place, and none in a folder."""
    for name in _OTHERS:
        os.symlink(place.artifact / name, place.scratch / name)
    (place.scratch / "model.onnx").write_bytes((place.artifact / FILES[place.form]).read_bytes())


def _read(answer: Any) -> list[float]:
    return [next(float(entry["score"]) for entry in row if entry["label"] == POSITIVE) for row in answer["data"]]


RIVAL = Rival(
    name="Infinity",
    package="infinity-emb",
    version="0.0.78",
    requirements=("torch==2.13.0", "infinity-emb[server,optimum,torch]==0.0.78", *ENGINES),
    forms=("fp32", "int8"),
    settings={
        "--engine optimum": "ONNX Runtime, which its documentation has for CPUs",
        "--batch-size 32": "as the others; it is its default too",
        "--device cpu, --no-bettertransformer": "it otherwise looks for a GPU, and for a module that is gone",
        "--onnx-disable-optimize": "the graph is optimised already",
        "--no-model-warmup": "it cuts no text to what the model takes, and its own warm-up is longer than that",
        "DO_NOT_TRACK=1, INFINITY_ANONYMOUS_USAGE_STATS=0": "no telemetry",
    },
    command=lambda place: (
        str(place.tool / "infinity_emb"),
        "v2",
        "--model-id",
        ".",
        "--served-model-name",
        "clf",
        "--engine",
        "optimum",
        "--device",
        "cpu",
        "--no-bettertransformer",
        "--onnx-disable-optimize",
        "--no-model-warmup",
        "--batch-size",
        "32",
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
        "--log-level",
        "warning",
    ),
    path="/classify",
    ready="/health",
    body=lambda texts: {"model": "clf", "input": list(texts)},
    read=_read,
    environment=lambda place: {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(place.scratch / "cache"),
        "DO_NOT_TRACK": "1",
        "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    },
    prepare=_files,
)
