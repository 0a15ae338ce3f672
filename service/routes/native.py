"""/v1: the native dialect."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from service.engine import Engine, Question, Reply, Windowing
from service.errors import InvalidInput
from service.metrics import Stamps
from service.schemas import native
from service.tasks.answer import Options

router = APIRouter(prefix="/v1", tags=["native"])
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": native.ErrorBody} for status in (400, 404, 413, 422, 429, 503)
}


@router.post("/classify", response_model=native.ClassifyResponse, responses=ERRORS)
async def classify(asked: native.ClassifyRequest, request: Request, response: Response) -> dict[str, object]:
    """Label texts or pairs of texts."""
    stamps: Stamps = request.state.stamps
    given = asked.inputs if isinstance(asked.inputs, list) else [asked.inputs]
    inputs = [item if isinstance(item, str) else (item.text, item.pair) for item in given]
    engine: Engine = request.app.state.engine
    reply = await engine.classify(asked.model, inputs, asked.activation, asked.top_k, stamps)
    return {"results": [[asdict(score) for score in row] for row in reply.results], **_facts(reply, response)}


@router.post("/answer", response_model=native.AnswerResponse, responses=ERRORS)
async def answer(asked: native.AnswerRequest, request: Request, response: Response) -> dict[str, object]:
    """Find the answer to a question in its context."""
    stamps: Stamps = request.state.stamps
    options = Options(asked.top_k, asked.max_answer_length, asked.handle_impossible, asked.align_to_words)
    engine: Engine = request.app.state.engine
    reply = await engine.answer(
        asked.model, _questions(asked), Windowing(asked.max_length, asked.stride), options, stamps
    )
    results = [
        [{"answer": a.text, "start": a.start, "end": a.end, "score": a.score} for a in row] for row in reply.results
    ]
    return {"results": results, **_facts(reply, response)}


def _questions(asked: native.AnswerRequest) -> list[Question]:
    if asked.inputs is not None and asked.question is None and asked.context is None:
        return [Question(item.question, item.context) for item in asked.inputs]
    if asked.inputs is None and asked.question is not None and asked.context is not None:
        return [Question(asked.question, asked.context)]
    raise InvalidInput("give either question and context, or a list of them under inputs")


def _facts(reply: Reply[Any], response: Response) -> dict[str, object]:
    response.headers["Server-Timing"] = reply.timings.header()
    return {
        "model": {"name": reply.model.name, "version": reply.version},
        "timings": asdict(reply.timings),
        "batch_size": reply.batch_size,
        "batch_tokens": reply.batch_tokens,
    }
