"""Triton through pytriton, with its dynamic batching."""

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import check_output
from typing import Any

from benchmarks.peers.rival import ANY_FORM, ENGINES, Place, Rival, script


def _body(texts: Sequence[str]) -> object:
    return {"inputs": [{"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": list(texts)}]}


def _read(answer: Any) -> list[float]:
    return [float(value) for value in answer["outputs"][0]["data"]]


def _library(place: Place) -> str:
    """The folder of the interpreter's shared library."""
    code = "import json, sysconfig; print(json.dumps(sysconfig.get_config_var('LIBDIR')))"
    return str(Path(json.loads(check_output([str(place.python), "-c", code]))))


RIVAL = Rival(
    name="Triton (PyTriton)",
    package="nvidia-pytriton",
    version="0.7.0",
    requirements=("nvidia-pytriton==0.7.0", *ENGINES),
    forms=ANY_FORM,
    settings={
        "max_batch_size=32, max_queue_delay_microseconds=2000": "its documentation has the delay for larger batches",
        "LD_LIBRARY_PATH": "its stub needs the shared library of the interpreter",
        "no gRPC, no metrics": "nothing asks for them",
    },
    command=lambda place: (str(place.python), script("triton"), str(place.port)),
    path="/v2/models/clf/infer",
    ready="/v2/health/ready",
    body=_body,
    read=_read,
    environment=lambda place: {"LD_LIBRARY_PATH": _library(place), "PYTRITON_NO_TELEMETRY": "1"},
)
