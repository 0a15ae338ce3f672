"""Routes of the Hugging Face dialect, / and /models/{name}: classification, zero-shot too, and question answering."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.dialects import contested
from service.dialects.common import USE, Name, documented, registry_of
from service.dialects.huggingface import answers, labels
from service.dialects.huggingface import schemas as hf
from service.dialects.information import Info, information
from service.dialects.strict import StrictRoute
from service.errors import InvalidInput

router = APIRouter(tags=["huggingface"], dependencies=USE, route_class=StrictRoute)
ERRORS = documented(hf.HuggingFaceError, 415, 422, 424)  # the last one is for clients of TEI
Answers = list[list[hf.Label]] | list[hf.Label] | hf.Answer | list[hf.Answer] | list[hf.Answer | list[hf.Answer]]


@router.post("/", response_model=Answers | list[contested.Rank], responses=ERRORS)
async def ask(asked: hf.Asked, request: Request) -> JSONResponse:
    """Label texts or answer questions, depending on the body. Requests of text-embeddings-inference get a flat list."""
    given = asked.root
    if isinstance(given, hf.Request):
        return await _ask(given, None, request)
    if isinstance(given, contested.RerankRequest):
        return await contested.ranked(given, request)
    return await contested.predicted(given, request)


@router.post("/models/{name}", response_model=Answers, responses=ERRORS)
async def ask_model(name: Name, asked: hf.Request, request: Request) -> JSONResponse:
    """Label texts, or answer questions, with a named model."""
    return await _ask(asked, name, request)


@router.get("/models/{name}/health", response_class=Response, responses=ERRORS)
async def model_health(request: Request, name: Name) -> Response:
    """200 with an empty body when this model answers: a client asks below the address it was given."""
    request.app.state.lifecycle.check_model(registry_of(request).peek(name))
    return Response()


@router.get("/models/{name}/info", response_model=Info, response_model_exclude_unset=True, responses=ERRORS)
async def model_info(request: Request, name: Name) -> dict[str, object]:
    """The same as /info, for this model."""
    registry = registry_of(request)
    return information(request.app.state.settings, registry, registry.peek(name))


async def _ask(asked: hf.Request, model: str | None, request: Request) -> JSONResponse:
    if request.scope["query_string"] and not hf.Parameters.model_fields.keys().isdisjoint(request.query_params):
        raise InvalidInput("send parameters in the body, under parameters, and not in the address")
    parameters = asked.parameters or hf.Parameters.model_validate({})
    questions, several = answers.questions_of(asked.inputs)
    if questions:
        return await answers.answered(questions, several, parameters, model, request)
    return await labels.labelled(asked.inputs, parameters, model, request)
