"""Routes of /v2: the Open Inference Protocol, with Triton's binary data, statistics, configuration and repository."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pgb_core.artifact import SCORINGS
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tasks.qa import Options, Question, Windowing
from pgb_core.inference.tokens import Text
from service import __version__
from service.dialects.common import (
    ADMIN,
    USE,
    Name,
    body_of,
    call_of,
    documented,
    engine_of,
    header_of,
    registry_of,
    repository_of,
    takes,
)
from service.dialects.strict import DirectRoute
from service.dialects.v2 import schemas as v2
from service.dialects.v2.schemas import Asked, Tensor
from service.engine import Engine, Target
from service.errors import InvalidInput, ServiceError, TooLarge, Unavailable, UnknownModel
from service.models.model import Model
from service.observe.metrics import STAGES, Call, Spent

ERRORS = documented(v2.V2Error, 424)


class _Plain(JSONResponse):
    """Kept from being compressed: clients undo that for inference alone, whatever they say they accept."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """See Response."""
        super().init_headers({"Content-Encoding": "identity", **(headers or {})})


_ALL: dict[str, Any] = {"prefix": "/v2", "tags": ["open inference protocol"], "responses": ERRORS}
router = APIRouter(**_ALL, default_response_class=_Plain)
work = APIRouter(**_ALL, default_response_class=_Plain, route_class=DirectRoute)
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "parameters",
    "statistics",
    "model_configuration",
    "model_repository",
)
# name -> (optional) of the inputs, and (name, datatype) of the outputs, by task
INPUTS = {"classification": {"text": False, "text_pair": True}, "qa": {"question": False, "context": False}}
OUTPUTS = {
    "classification": (("label", "BYTES"), ("score", "FP32"), ("scores", "FP32")),
    "qa": (("answer", "BYTES"), ("score", "FP32"), ("start", "INT32"), ("end", "INT32")),
}
_DEFLATE_FROM = 4096
_SWITCHES: tuple[str, ...] = ("binary_data_output", "handle_impossible")
_TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32"}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _body(model: type[BaseModel], **content: object) -> dict[str, Any]:
    """What the OpenAPI document says of a body that its route parses itself. The schema stands in it whole."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    text = json.dumps(schema)
    for name, part in parts.items():
        text = text.replace(json.dumps({"$ref": f"#/$defs/{name}"}), json.dumps(part))
    shown = {"application/json": {"schema": json.loads(text)}, **content}
    return {"requestBody": {"required": model is v2.InferRequest, "content": shown}}


_INFER: dict[str, Any] = {
    "dependencies": USE,
    "response_model": v2.InferResponse,
    "responses": {200: {"content": _BINARY}},
    "openapi_extra": _body(v2.InferRequest, **_BINARY),
}


@router.get("")
@router.get("/", include_in_schema=False)  # the only path of it in the protocol's own OpenAPI document
async def server() -> dict[str, object]:
    """Name, version and extensions."""
    return {"name": "pgb-serve", "version": __version__, "extensions": EXTENSIONS}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """200 while the process answers, under any load."""
    return {"live": True}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """200 once every model has made a forward pass, until draining begins."""
    request.app.state.lifecycle.check()
    return {"ready": True}


@router.get("/models/stats", dependencies=USE)
async def all_statistics(request: Request) -> dict[str, object]:
    """What every version has done since it was loaded."""
    return {"model_stats": [_statistics(model) for model in registry_of(request).models]}


@router.get("/models/{name}", dependencies=USE)
@router.get("/models/{name}/versions/{version}", dependencies=USE)
async def metadata(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """Inputs and outputs."""
    registry = registry_of(request)
    model = registry.peek(name, version)
    return {
        "name": name,
        "versions": list(registry.served(name).versions),
        "platform": RUNTIMES[model.kind].platform,
        "inputs": [{"name": n, "datatype": "BYTES", "shape": [-1, 1]} for n in INPUTS[model.manifest.task]],
        "outputs": [
            {"name": n, "datatype": kind, "shape": [-1, _width(model, n)]} for n, kind in OUTPUTS[model.manifest.task]
        ],
    }


@router.get("/models/{name}/config", dependencies=USE)
@router.get("/models/{name}/versions/{version}/config", dependencies=USE)
async def configuration(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """The model's configuration, which load tools read before they start."""
    model = registry_of(request).peek(name, version)
    task = model.manifest.task
    platform, backend = RUNTIMES[model.kind].triton
    return {
        "name": name,
        "platform": platform,
        "backend": backend,
        "max_batch_size": request.app.state.settings.max_items,
        "input": [
            {"name": n, "data_type": "TYPE_STRING", "dims": [1], "optional": optional}
            for n, optional in INPUTS[task].items()
        ],
        "output": [{"name": n, "data_type": _TYPES[kind], "dims": [_width(model, n)]} for n, kind in OUTPUTS[task]],
        "dynamic_batching": {},
    }


@router.get("/models/{name}/ready", dependencies=USE)
@router.get("/models/{name}/versions/{version}/ready", dependencies=USE)
async def model_ready(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """200 when this model answers."""
    model = registry_of(request).peek(name, version)
    if request.app.state.lifecycle.draining or not model.healthy:
        raise Unavailable("the model is not ready")
    return {"name": name, "ready": True}


@router.get("/models/{name}/stats", dependencies=USE)
@router.get("/models/{name}/versions/{version}/stats", dependencies=USE)
async def statistics(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """What the versions of a model have done since they were loaded."""
    registry = registry_of(request)
    registry.peek(name, version)
    versions = registry.served(name).versions
    return {"model_stats": [_statistics(m) for label, m in versions.items() if version in (None, label)]}


@router.post("/repository/index", dependencies=USE, openapi_extra=_body(v2.IndexRequest))
async def index(request: Request) -> list[dict[str, str]]:
    """Every version that is served, loading, unloading, failed, or not loaded."""
    asked = v2.parse_repository(v2.IndexRequest, await request.body())
    held = repository_of(request)
    states = [s for s in held.index() if s.state == "READY"] if asked.ready else await held.contents()
    return [{"name": s.name, "version": s.version, "state": s.state, "reason": s.reason} for s in states]


@router.post("/repository/models/{name}/load", dependencies=ADMIN, openapi_extra=_body(v2.LoadRequest))
async def load(request: Request, name: Name) -> dict[str, object]:
    """Load the latest version from the folder of models and switch to it; on failure nothing changes."""
    if v2.parse_repository(v2.LoadRequest, await request.body()).parameters:
        raise InvalidInput("failed to load: a model is loaded as its folder has it; send no parameters")
    try:
        await repository_of(request).load(name)
    except UnknownModel as error:
        raise UnknownModel(f"failed to load: {error}") from None
    return {}


@router.post("/repository/models/{name}/unload", dependencies=ADMIN, openapi_extra=_body(v2.UnloadRequest))
async def unload(request: Request, name: Name) -> dict[str, object]:
    """Unload every version of a model. A model that is not loaded is no error."""
    v2.parse_repository(v2.UnloadRequest, await request.body())
    with suppress(UnknownModel):
        await repository_of(request).unload(name)
    return {}


@work.post("/models/{name}/infer", **_INFER)
@work.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(request: Request, name: Name, version: str | None = None) -> Response:
    """Label texts or answer questions; JSON, or texts and results as binary tensors."""
    call, engine = call_of(request), engine_of(request)
    target = Target(name, version)
    model = engine.registry.peek(name, version)
    task = model.manifest.task
    try:  # everything that can be wrong with it is found before the model runs
        items = request.app.state.settings.max_items
        asked = v2.parse(await body_of(request), header_of(request, v2.HEADER_LENGTH), items)
        _give(call, asked.header.parameters.get("timeout"))
        columns = _columns(asked, INPUTS[task])
        _check_outputs(asked, [name for name, _ in OUTPUTS[task]])
        _check_parameters(asked)
    except ServiceError as error:
        model.statistics.failed(call)
        raise _refusal(error) from None
    try:
        made = await (_classify if task == "classification" else _answer)(call, target, columns, asked, engine)
    except TooLarge as error:
        raise _refusal(error) from None
    tensors = _chosen(made, asked)
    body, header = v2.build(asked.header, call.model, call.version, tensors)
    deflate = len(body) >= _DEFLATE_FROM and _only_deflate(request.headers.get("accept-encoding", ""))
    response = Response(
        zlib.compress(body, 1) if deflate else body,
        media_type="application/json" if header is None else "application/octet-stream",
    )
    if deflate:
        response.headers.update({"Content-Encoding": "deflate", "Vary": "Accept-Encoding"})
    if header is not None:
        response.headers["Inference-Header-Content-Length"] = str(header)
    response.headers["Server-Timing"] = call.timings().header()
    return response


async def _classify(
    call: Call, target: Target, columns: dict[str, list[str]], asked: Asked, engine: Engine
) -> list[Tensor]:
    texts: Sequence[Text] = columns["text"]
    if "text_pair" in columns:
        texts = list(zip(columns["text"], columns["text_pair"], strict=True))
    labelling = Labelling(asked.header.parameters.get("activation"))
    labels, scores = await engine.scores(call, target, texts, labelling)
    best = scores.argmax(1)
    made = [
        Tensor("label", np.array([[labels[n]] for n in best], object)),
        Tensor("score", scores[np.arange(len(best)), best, None].astype(np.float32)),
    ]
    count = _classification(asked)
    if count is None:
        return [*made, Tensor("scores", scores.astype(np.float32))]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    ranked = [[f"{scores[row, n]:f}:{n}:{labels[n]}" for n in chosen] for row, chosen in enumerate(order)]
    return [*made, Tensor("scores", np.array(ranked, object))]


async def _answer(
    call: Call, target: Target, columns: dict[str, list[str]], asked: Asked, engine: Engine
) -> list[Tensor]:
    questions = [Question(q, c) for q, c in zip(columns["question"], columns["context"], strict=True)]
    impossible = asked.header.parameters.get("handle_impossible", False)
    rows = await engine.answer(call, target, questions, Windowing(), Options(handle_impossible=impossible))
    best = [row[0] if row else None for row in rows]
    return [
        Tensor("answer", np.array([[a.text if a else ""] for a in best], object)),
        Tensor("score", np.array([[a.score if a else 0.0] for a in best], np.float32)),
        Tensor("start", np.array([[a.start if a else 0] for a in best], np.int32)),
        Tensor("end", np.array([[a.end if a else 0] for a in best], np.int32)),
    ]


def _refusal(error: ServiceError) -> ServiceError:
    """Refuse with 400, the protocol's only status for a refused batch."""
    return InvalidInput(str(error)) if isinstance(error, TooLarge) else error


def _columns(asked: Asked, inputs: dict[str, bool]) -> dict[str, list[str]]:
    for name, optional in inputs.items():
        if name not in asked.texts and not optional:
            raise InvalidInput(f"input {name} is missing; the model takes {', '.join(inputs)}")
    if not set(asked.texts) <= set(inputs):
        raise InvalidInput(f"an input is unknown; the model takes {', '.join(inputs)}")
    if len({len(column) for column in asked.texts.values()}) != 1:
        raise InvalidInput("the inputs have different numbers of elements")
    return dict(asked.texts)


def _check_outputs(asked: Asked, names: Sequence[str]) -> None:
    for output in asked.header.outputs or ():
        if output.name not in names:
            raise InvalidInput(f"an output is unknown; the model gives {', '.join(names)}")
        if "classification" in output.parameters and output.name != "scores":
            raise InvalidInput("the parameter classification is only for the output scores")
    _classification(asked)


def _check_parameters(asked: Asked) -> None:
    activation = asked.header.parameters.get("activation")
    if activation is not None and activation not in SCORINGS:
        raise InvalidInput("parameter activation is softmax, sigmoid or none")
    given = [(name, asked.header.parameters.get(name)) for name in _SWITCHES]
    given += [("binary_data", output.parameters.get("binary_data")) for output in asked.header.outputs or ()]
    for name, value in given:
        if not isinstance(value, bool | None):
            raise InvalidInput(f"parameter {name} is true or false")


def _chosen(made: list[Tensor], asked: Asked) -> list[Tensor]:
    by_name = {tensor.name: tensor for tensor in made}
    return [by_name[output.name] for output in asked.header.outputs] if asked.header.outputs else made


def _classification(asked: Asked) -> int | None:
    for output in asked.header.outputs or ():
        count = output.parameters.get("classification")
        if output.name == "scores" and count is not None:
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InvalidInput("classification is a number of labels, at least 1")
            return count
    return None


def _give(call: Call, microseconds: object) -> None:
    if microseconds is None:
        return
    if not isinstance(microseconds, int) or isinstance(microseconds, bool) or microseconds < 0:
        raise InvalidInput("parameter timeout is a number of microseconds")
    if microseconds:
        call.give(min(microseconds, 1 << 40) / 1e6)


def _only_deflate(accepted: str) -> bool:
    """Whether a client takes deflate but not gzip, which is left to the middleware."""
    return takes(accepted, "deflate") and not takes(accepted, "gzip")


def _width(model: Model, output: str) -> int:
    return len(model.manifest.labels) if output == "scores" else 1


def _statistics(model: Model) -> dict[str, object]:
    found = model.statistics
    queue, infer = found.stages["queue"], found.stages["infer"]
    compute = {
        "compute_input": found.stages[STAGES[0]],
        "compute_infer": infer,
        "compute_output": found.stages[STAGES[3]],
    }
    none = Spent()
    parts = {"success": found.success, "fail": found.fail, "queue": queue, **compute}
    parts |= {"cache_hit": none, "cache_miss": none}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": round(1e3 * found.last),
        "inference_count": found.inferences,
        "execution_count": found.executions,
        "inference_stats": {name: {"count": s.count, "ns": s.ns} for name, s in parts.items()},
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": {"count": s.count, "ns": 0},
                "compute_infer": {"count": s.count, "ns": s.ns},
                "compute_output": {"count": s.count, "ns": 0},
            }
            for size, s in sorted(found.batches.items())
        ],
        "memory_usage": [],
    }
