"""Text classification and zero-shot classification, with the pipelines' inputs and the answers that clients read."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse

from pgb_core.inference.tasks import entailment
from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tokens import Text
from service.dialects.common import call_of, engine_of, timed
from service.dialects.huggingface import schemas as hf
from service.engine import MOST_CHARACTERS, Need, Target
from service.errors import EmptyInput, InvalidInput, TooLarge

_MANY = "too many texts with a candidate label each, at most {} are taken"
ENTAILS = Need(
    lambda manifest: entailment.entailment(manifest.labels) is not None,
    "this model has no label that begins with entail beside another, which candidate_labels need",
)


async def labelled(given: object, p: hf.Parameters, model: str | None, request: Request) -> JSONResponse:
    """Labels of each text or pair; of candidates where they are given."""
    texts = [_text(item) for item in (given if isinstance(given, list) else [given])]
    cut = p.truncation not in (False, "do_not_truncate")
    if p.truncation in ("only_first", "only_second") and not all(isinstance(item, str) for item in texts):
        raise InvalidInput("a pair is cut at its longer text; set truncation to true, false or longest_first")
    if p.candidate_labels is not None:
        return await _zero_shot(texts, isinstance(given, list), p, cut, model, request)
    if p.hypothesis_template is not None or p.multi_label is not None:
        raise InvalidInput("hypothesis_template and multi_label need candidate_labels")
    call = call_of(request)
    top_k = 1 if p.top_k is None and p.return_all_scores is False else p.top_k
    options = Labelling(p.function_to_apply, top_k, cut, max_length=p.max_length)
    rows = await engine_of(request).classify(call, Target(model), texts, options)
    # Nested for a single input too: the clients take the first element.
    return timed([[{"label": s.label, "score": s.score} for s in row] for row in rows], call)


async def _zero_shot(
    texts: list[Text], several: bool, p: hf.Parameters, cut: bool, model: str | None, request: Request
) -> JSONResponse:
    """Candidates of each text, the best first. A text and a candidate are one input."""
    call, most = call_of(request), request.app.state.settings.max_items
    given = p.candidate_labels or []
    named = _parts(given, most) if isinstance(given, str) else given
    template = entailment.TEMPLATE if p.hypothesis_template is None else p.hypothesis_template
    if not named:
        raise EmptyInput("there is no candidate label")
    if texts == [""] and not several:  # as the pipeline, which takes an empty text in a list
        raise EmptyInput("the text is empty")
    if not entailment.fits(template):
        raise InvalidInput("hypothesis_template must have {} once, where the label goes")
    if p.function_to_apply is not None:
        raise InvalidInput("function_to_apply is not for candidate_labels; multi_label says how they are scored")
    if len(texts) * len(named) > most:
        raise TooLarge(_MANY.format(most))
    if len(texts) * sum(map(len, named)) > MOST_CHARACTERS:  # each answer repeats every label
        raise TooLarge("the candidate labels are too long for so many texts; shorten them, or send fewer texts")
    plain = [text for text in texts if isinstance(text, str)]
    if len(plain) < len(texts):
        raise InvalidInput("candidate_labels are for texts, not for pairs")
    hypotheses = [entailment.hypothesis(template, label) for label in named]
    pairs: list[Text] = [(text, said) for text in plain for said in hypotheses]
    options = Labelling("none", None, cut, max_length=p.max_length)
    labels, logits = await engine_of(request).scores(call, Target(model, need=ENTAILS), pairs, options)
    scores = entailment.candidates(logits.reshape(len(plain), len(named), -1), labels, bool(p.multi_label))
    rows = [_ranked(named, row)[: p.top_k] for row in scores.tolist()]
    return timed(rows if several else rows[0], call)


def _parts(given: str, most: int) -> list[str]:
    """What stands between commas, but for blanks. Raises TooLarge."""
    parts = given.split(",", most)
    if len(parts) > most:
        raise TooLarge(_MANY.format(most))
    return [part.strip() for part in parts if part.strip()]


def _ranked(named: list[str], scores: list[float]) -> list[dict[str, object]]:
    order = sorted(range(len(named)), key=scores.__getitem__, reverse=True)
    return [{"label": named[n], "score": scores[n]} for n in order]


def _text(item: object) -> Text:
    if isinstance(item, hf.TextPair):
        return item.text if item.text_pair is None else (item.text, item.text_pair)
    return (str(item[0]), str(item[1])) if isinstance(item, list) else str(item)
