"""Routes of /v2: the Open Inference Protocol, with Triton's binary data, statistics, configuration and repository."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pgb_core.inference.runtimes.registry import RUNTIMES
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
from service.dialects.v2 import codec
from service.dialects.v2 import schemas as v2
from service.dialects.v2.statistics import statistics_of
from service.dialects.v2.tensors import checked, signature_of, width
from service.engine import Target
from service.errors import InvalidInput, ServiceError, TooLarge, UnknownModel
from service.observe.metrics import Call

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
_DEFLATE_FROM = 4096
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
    return {"model_stats": [statistics_of(model) for model in registry_of(request).models]}


@router.get("/models/{name}", dependencies=USE)
@router.get("/models/{name}/versions/{version}", dependencies=USE)
async def metadata(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """Inputs and outputs."""
    registry = registry_of(request)
    model = registry.peek(name, version)
    signature = signature_of(model)
    return {
        "name": name,
        "versions": list(registry.served(name).versions),
        "platform": RUNTIMES[model.kind].platform,
        "inputs": [{"name": n, "datatype": "BYTES", "shape": [-1, 1]} for n in signature.inputs],
        "outputs": [
            {"name": n, "datatype": kind, "shape": [-1, width(model, n)]} for n, kind in signature.outputs.items()
        ],
    }


@router.get("/models/{name}/config", dependencies=USE)
@router.get("/models/{name}/versions/{version}/config", dependencies=USE)
async def configuration(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """The model's configuration, which load tools read before they start."""
    model = registry_of(request).peek(name, version)
    signature = signature_of(model)
    platform, backend = RUNTIMES[model.kind].triton
    return {
        "name": name,
        "platform": platform,
        "backend": backend,
        "max_batch_size": request.app.state.settings.max_items,
        "input": [
            {"name": n, "data_type": "TYPE_STRING", "dims": [1], "optional": optional}
            for n, optional in signature.inputs.items()
        ],
        "output": [
            {"name": n, "data_type": _TYPES[kind], "dims": [width(model, n)]} for n, kind in signature.outputs.items()
        ],
        "dynamic_batching": {},
    }


@router.get("/models/{name}/ready", dependencies=USE)
@router.get("/models/{name}/versions/{version}/ready", dependencies=USE)
async def model_ready(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """200 when this model answers."""
    request.app.state.lifecycle.check_model(registry_of(request).peek(name, version))
    return {"name": name, "ready": True}


@router.get("/models/{name}/stats", dependencies=USE)
@router.get("/models/{name}/versions/{version}/stats", dependencies=USE)
async def statistics(request: Request, name: Name, version: str | None = None) -> dict[str, object]:
    """What the versions of a model have done since they were loaded."""
    registry = registry_of(request)
    registry.peek(name, version)
    versions = registry.served(name).versions
    return {"model_stats": [statistics_of(m) for label, m in versions.items() if version in (None, label)]}


@router.post("/repository/index", dependencies=USE, openapi_extra=_body(v2.IndexRequest))
async def index(request: Request) -> list[dict[str, str]]:
    """Every version that is served, loading, unloading, failed, or not loaded."""
    asked = codec.parse_repository(v2.IndexRequest, await request.body())
    held = repository_of(request)
    states = [s for s in held.index() if s.state == "READY"] if asked.ready else await held.contents()
    return [{"name": s.name, "version": s.version, "state": s.state, "reason": s.reason} for s in states]


@router.post("/repository/models/{name}/load", dependencies=ADMIN, openapi_extra=_body(v2.LoadRequest))
async def load(request: Request, name: Name) -> dict[str, object]:
    """Load the latest version from the folder of models and switch to it; on failure nothing changes."""
    _check_address(request)
    if codec.parse_repository(v2.LoadRequest, await request.body()).parameters:
        raise InvalidInput("failed to load: a model is loaded as its folder has it; send no parameters")
    try:
        await repository_of(request).load(name, owner=call_of(request).owner)
    except UnknownModel as error:
        raise UnknownModel(f"failed to load: {error}") from None
    return {}


@router.post("/repository/models/{name}/unload", dependencies=ADMIN, openapi_extra=_body(v2.UnloadRequest))
async def unload(request: Request, name: Name) -> dict[str, object]:
    """Unload every version of a model. A model that is not loaded is no error."""
    _check_address(request)
    if codec.parse_repository(v2.UnloadRequest, await request.body()).parameters.keys() - {"unload_dependents"}:
        raise InvalidInput("every version of a model is unloaded; send no parameter but unload_dependents")
    with suppress(UnknownModel):
        await repository_of(request).unload(name, owner=call_of(request).owner)
    return {}


@work.post("/models/{name}/infer", **_INFER)
@work.post("/models/{name}/versions/{version}/infer", **_INFER)
async def infer(request: Request, name: Name, version: str | None = None) -> Response:
    """Label texts or answer questions; JSON, or texts and results as binary tensors."""
    call, engine = call_of(request), engine_of(request)
    target = Target(name, version)
    model = engine.registry.peek(name, version)
    call.model, call.version = model.name, model.version
    signature = signature_of(model)
    try:  # everything that can be wrong with it is found before the model runs
        items = request.app.state.settings.max_items
        asked = codec.parse(await body_of(request), header_of(request, codec.HEADER_LENGTH), items)
        _give(call, asked.header.parameters.get("timeout"))
        columns = checked(asked, signature)
    except ServiceError as error:
        model.statistics.failed(call)
        raise _refusal(error) from None
    try:
        made = await signature.run(engine, call, target, columns, asked)
    except TooLarge as error:
        raise _refusal(error) from None
    tensors = _wanted(made, asked)
    body, header = codec.build(asked.header, call.model, call.version, tensors)
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


def _check_address(request: Request) -> None:
    """Raises InvalidInput for a version in the address, which would be passed over."""
    if "version" in request.query_params:
        raise InvalidInput("no version is named here; send it in the body of /v1/models/NAME/load or unload")


def _refusal(error: ServiceError) -> ServiceError:
    """Refuse with 400, the protocol's only status for a refused batch."""
    return InvalidInput(str(error)) if isinstance(error, TooLarge) else error


def _wanted(made: list[codec.Tensor], asked: codec.Asked) -> list[codec.Tensor]:
    by_name = {tensor.name: tensor for tensor in made}
    return [by_name[output.name] for output in asked.header.outputs] if asked.header.outputs else made


def _give(call: Call, microseconds: object) -> None:
    if microseconds is None:
        return
    if not isinstance(microseconds, int) or isinstance(microseconds, bool) or microseconds < 0:
        raise InvalidInput("parameter timeout must be a number of microseconds")
    if microseconds:
        call.give(min(microseconds, 1 << 40) / 1e6)


def _only_deflate(accepted: str) -> bool:
    """Whether a client takes deflate but not gzip, which is left to the middleware."""
    return takes(accepted, "deflate") and not takes(accepted, "gzip")
