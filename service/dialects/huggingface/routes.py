"""/ and /models/{name}: the Hugging Face dialect, for text classification and question answering."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tasks.qa import Options, Question, Windowing
from service.dialects.common import USE, Name, call_of, documented, engine_of, registry_of, timed
from service.dialects.huggingface import schemas as hf
from service.dialects.information import Info, information
from service.dialects.strict import StrictRoute
from service.engine import Engine, Target
from service.errors import InvalidInput, Unavailable
from service.observe.metrics import Call

router = APIRouter(tags=["huggingface"], dependencies=USE, route_class=StrictRoute)
ERRORS = documented(hf.HuggingFaceError, 415, 422)
MOST_ANSWERS = 100  # finding them takes time in proportion
Answers = list[list[hf.Label]] | hf.Answer | list[hf.Answer] | list[hf.Answer | list[hf.Answer]]


@router.post("/", response_model=Answers, responses=ERRORS)
async def ask(asked: hf.Request, request: Request) -> JSONResponse:
    """Label texts, or answer questions, by what is sent."""
    return await _ask(asked, Target(), request)


@router.post("/models/{name}", response_model=Answers, responses=ERRORS)
async def ask_model(name: Name, asked: hf.Request, request: Request) -> JSONResponse:
    """Label texts, or answer questions, with a named model."""
    return await _ask(asked, Target(name), request)


@router.get("/models/{name}/health", response_class=Response, responses=ERRORS)
async def model_health(request: Request, name: Name) -> Response:
    """200 with an empty body when this model answers: a client asks below the address it was given."""
    model = registry_of(request).peek(name)
    if request.app.state.lifecycle.draining or not model.healthy:
        raise Unavailable("the model is not ready")
    return Response()


@router.get("/models/{name}/info", response_model=Info, responses=ERRORS)
async def model_info(request: Request, name: Name) -> dict[str, object]:
    """What /info says, of this model."""
    registry = registry_of(request)
    return information(request.app.state.settings, registry, registry.peek(name))


async def _ask(asked: hf.Request, target: Target, request: Request) -> JSONResponse:
    call, engine = call_of(request), engine_of(request)
    given = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
    parameters = asked.parameters or hf.Parameters.model_validate({})
    questions = [Question(item.question, item.context) for item in given if isinstance(item, hf.Question)]
    if questions:
        return await _answer(questions, isinstance(asked.inputs, list), parameters, target, call, engine)
    texts = [
        item if isinstance(item, str) else (item.text, item.text_pair) if item.text_pair is not None else item.text
        for item in given
        if not isinstance(item, hf.Question)
    ]
    options = Labelling(parameters.function_to_apply, parameters.top_k)
    rows = await engine.classify(call, target, texts, options)
    # Nested for a single input too: the clients take the first element.
    return timed([[{"label": s.label, "score": s.score} for s in row] for row in rows], call)


async def _answer(
    questions: list[Question], many: bool, p: hf.Parameters, target: Target, call: Call, engine: Engine
) -> JSONResponse:
    if (p.top_k or 1) > MOST_ANSWERS:
        raise InvalidInput(f"top_k is at most {MOST_ANSWERS} for answers")
    align = True if p.align_to_words is None else p.align_to_words
    options = Options(p.top_k or 1, p.max_answer_len or 15, bool(p.handle_impossible_answer), align)
    rows = await engine.answer(call, target, questions, Windowing(p.max_seq_len, p.doc_stride), options)
    found = [[{"answer": a.text, "start": a.start, "end": a.end, "score": a.score} for a in row] for row in rows]
    shown = [row[0] if len(row) == 1 else row for row in found]
    return timed(shown if many else shown[0], call)
