"""Question answering with the inputs and outputs of the pipeline."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks.qa import Options, Question, Windowing
from service.dialects.common import call_of, engine_of, shown, timed
from service.dialects.huggingface import schemas as hf
from service.engine import Target
from service.errors import InvalidInput

MOST_ANSWERS = 100  # finding them takes time in proportion


def questions_of(given: object) -> tuple[list[Question], bool]:
    """The questions among inputs, none where there are texts; and whether answers are a list.

    Raises InvalidInput for lists of different lengths.
    """
    if isinstance(given, hf.Questions):
        contexts = [given.context] * len(given.question) if isinstance(given.context, str) else given.context
        if len(contexts) != len(given.question):
            raise InvalidInput("question and context are lists of different lengths")
        found = [Question(*one) for one in zip(given.question, contexts, strict=True)]
        return found, len(found) > 1  # the pipeline takes one of them out of its list
    items = given if isinstance(given, list) else [given]
    return [Question(item.question, item.context) for item in items if isinstance(item, hf.Question)], isinstance(
        given, list
    )


async def answered(
    questions: list[Question], several: bool, p: hf.Parameters, model: str | None, request: Request
) -> JSONResponse:
    """Each question's answer, or a list of answers where it has several."""
    if p.candidate_labels is not None:
        raise InvalidInput("candidate_labels are for texts, not for questions")
    if (p.top_k or 1) > MOST_ANSWERS:
        raise InvalidInput(f"top_k is at most {MOST_ANSWERS} for answers")
    call = call_of(request)
    align = True if p.align_to_words is None else p.align_to_words
    options = Options(p.top_k or 1, p.max_answer_len or 15, bool(p.handle_impossible_answer), align)
    windowing = Windowing(p.max_seq_len, p.doc_stride)
    rows = await engine_of(request).answer(call, Target(model), questions, windowing, options)
    lists = [[shown(one) for one in row] or [shown(None)] for row in rows]  # clients take no empty list for an answer
    found = [row[0] if len(row) == 1 else row for row in lists]
    return timed(found if several else found[0], call)
