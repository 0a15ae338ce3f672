"""Routes of the native dialect: /v1."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tasks.qa import Options, Question, Windowing
from service.dialects.common import ADMIN, USE, Name, call_of, documented, engine_of, registry_of, repository_of, timed
from service.dialects.information import described
from service.dialects.native import schemas as native
from service.dialects.strict import StrictRoute
from service.engine import Target
from service.errors import InvalidInput
from service.observe.metrics import Call

ERRORS = documented(native.ErrorBody, 415, 422)
Asked = TypeVar("Asked", native.ClassifyRequest, native.AnswerRequest)
router = APIRouter(prefix="/v1", tags=["native"], responses=ERRORS, route_class=StrictRoute)


@router.post("/classify", response_model=native.ClassifyResponse, dependencies=USE)
async def classify(asked: native.ClassifyRequest, request: Request) -> JSONResponse:
    """Label texts or pairs of texts."""
    call = _called(request, asked.timeout_ms)
    given = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
    inputs = [item if isinstance(item, str) else (item.text, item.pair) for item in given]
    if asked.stride is not None and asked.long is None:
        raise InvalidInput("stride needs long; set long to mean or max")
    if asked.long is not None and not asked.truncate:
        raise InvalidInput(
            "truncate refuses a text that is too long, and long reads it in windows; leave one of them out"
        )
    options = Labelling(asked.activation, asked.top_k, asked.truncate, pool=asked.long, stride=asked.stride)
    rows = await engine_of(request).classify(call, Target(asked.model, asked.version), inputs, options)
    results = [[{"label": s.label, "score": s.score} for s in row] for row in rows]
    return timed({"results": results, "truncated": call.truncated, **_facts(call)}, call)


@router.post("/answer", response_model=native.AnswerResponse, dependencies=USE)
async def answer(asked: native.AnswerRequest, request: Request) -> JSONResponse:
    """Find the answer to a question in its context."""
    call = _called(request, asked.timeout_ms)
    options = Options(asked.top_k, asked.max_answer_length, asked.handle_impossible, asked.align_to_words)
    windowing = Windowing(asked.max_length, asked.stride)
    target = Target(asked.model, asked.version)
    rows = await engine_of(request).answer(call, target, _questions(asked), windowing, options)
    results = [[{"answer": a.text, "start": a.start, "end": a.end, "score": a.score} for a in row] for row in rows]
    return timed({"results": results, **_facts(call)}, call)


@router.post("/models/{name}/classify", response_model=native.ClassifyResponse, dependencies=USE)
async def classify_with(name: Name, asked: native.ClassifyRequest, request: Request) -> JSONResponse:
    """Label texts or pairs of texts with a named model."""
    return await classify(_named(asked, name), request)


@router.post("/models/{name}/answer", response_model=native.AnswerResponse, dependencies=USE)
async def answer_with(name: Name, asked: native.AnswerRequest, request: Request) -> JSONResponse:
    """Find the answer to a question in its context with a named model."""
    return await answer(_named(asked, name), request)


@router.get("/models", response_model=native.ModelsBody, dependencies=USE)
async def models(request: Request) -> dict[str, object]:
    """Every model and version, with the figures measured when its artifact was made."""
    registry = registry_of(request)
    served = [described(model, registry) for model in registry.models]
    return {"models": served, "states": [asdict(state) for state in repository_of(request).index()]}


@router.post(
    "/models/{name}/load",
    response_model=native.VersionState,
    responses={424: {"model": native.ErrorBody}},
    dependencies=ADMIN,
)
async def load(name: Name, request: Request, asked: native.LoadRequest | None = None) -> JSONResponse:
    """Load a version from the folder of models, check it, and send traffic to it; on failure nothing changes."""
    asked = asked or native.LoadRequest(version=None, share=1.0)
    model = await repository_of(request).load(name, asked.version, asked.share, call_of(request).owner)
    return JSONResponse({"name": model.name, "version": model.version, "state": "READY", "reason": ""})


@router.post("/models/{name}/unload", status_code=204, dependencies=ADMIN)
async def unload(name: Name, request: Request, asked: native.UnloadRequest | None = None) -> Response:
    """Stop sending traffic to a version, let it finish, and free it."""
    await repository_of(request).unload(name, asked.version if asked else None, call_of(request).owner)
    return Response(status_code=204)


@router.put("/models/{name}/split", status_code=204, dependencies=ADMIN)
async def split(name: Name, asked: native.SplitRequest, request: Request) -> Response:
    """Share the traffic of a model among its versions."""
    repository_of(request).split(name, asked.weights, call_of(request).owner)
    return Response(status_code=204)


def _named(asked: Asked, name: str) -> Asked:
    """What is asked of the model that the path names. Raises InvalidInput where the body names another one."""
    if asked.model not in (None, name):
        raise InvalidInput("model is another one than in the path; leave it out")
    return asked.model_copy(update={"model": name})


def _called(request: Request, timeout_ms: float | None) -> Call:
    call = call_of(request)
    if timeout_ms is not None:
        call.give(timeout_ms / 1e3)
    return call


def _questions(asked: native.AnswerRequest) -> list[Question]:
    if asked.inputs is not None and asked.question is None and asked.context is None:
        return [Question(item.question, item.context) for item in asked.inputs]
    if asked.inputs is None and asked.question is not None and asked.context is not None:
        return [Question(asked.question, asked.context)]
    raise InvalidInput("give either question and context, or a list of them under inputs")


def _facts(call: Call) -> dict[str, object]:
    return {
        "model": {"name": call.model, "version": call.version},
        "timings": vars(call.timings()),
        "batch_size": call.batch_size,
        "batch_tokens": call.batch_tokens,
    }
