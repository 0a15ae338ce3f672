"""MLServer with a model of its own kind and adaptive batching."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS
from benchmarks.peers.rival import ANY_FORM, ENGINES, POSITIVE, Place, Rival

_MODEL = "clf"


def _files(place: Place) -> None:
    settings = {"host": "127.0.0.1", "http_port": place.port, "grpc_port": 0, "metrics_port": 0, "parallel_workers": 0}
    model = {
        "name": _MODEL,
        "implementation": "benchmarks.peers.rivals.ml_server.app.Sentiment",
        "max_batch_size": BATCH,
        "max_batch_time": WAIT_SECONDS,
    }
    (place.scratch / "settings.json").write_text(json.dumps(settings | {"debug": False}), "utf-8")
    (place.scratch / "model-settings.json").write_text(json.dumps(model), "utf-8")


def _body(texts: Sequence[str]) -> object:
    tensor = {"name": "texts", "shape": [len(texts), 1], "datatype": "BYTES", "data": list(texts)}
    return {"inputs": [{**tensor, "parameters": {"content_type": "str"}}]}


def _read(answer: Any) -> list[float]:
    return [float(value) for value in answer["outputs"][0]["data"]]


RIVAL = Rival(
    name="MLServer",
    package="mlserver",
    version="1.7.1",
    requirements=("mlserver==1.7.1", "uvloop<0.22", *ENGINES),
    forms=ANY_FORM,
    settings={
        "max_batch_size=32, max_batch_time=0.002": "its documentation turns adaptive batching on; it is off by default",
        "parallel_workers=0": "its documentation has them for more than one core; there is one",
        "debug=false": "no line for each request",
        "uvloop below 0.22": "it does not start with newer ones",
        f"output {POSITIVE!r} alone": "a tensor of one dimension keeps the answer short",
    },
    command=lambda place: (str(place.tool / "mlserver"), "start", str(place.scratch)),
    path=f"/v2/models/{_MODEL}/infer",
    ready="/v2/health/ready",
    body=_body,
    read=_read,
    prepare=_files,
)
