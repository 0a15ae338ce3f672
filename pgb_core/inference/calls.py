"""Calls a model as a function: plain texts and options in, plain dicts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, TypeGuard

from pgb_core.inference.errors import InvalidInput, WrongTask
from pgb_core.inference.tasks.classification import CLASSIFICATION, Labelling, Score
from pgb_core.inference.tasks.qa import QA, Answer, Options, Question, Windowing
from pgb_core.inference.tokens import Text

Found = list[dict[str, Any]] | list[list[dict[str, Any]]]

_QUESTIONS = ("question", "context")
_LABELLING, _OPTIONS, _WINDOWING = (
    {field.name: field.default for field in fields(kind)} for kind in (Labelling, Options, Windowing)
)
_SWITCHES = {name for name, usual in (_LABELLING | _OPTIONS).items() if isinstance(usual, bool)}
_WORDS = {"activation", "pool", "side"}
_KNOWN = {CLASSIFICATION.name: {*_LABELLING}, QA.name: {*_OPTIONS, *_WINDOWING, *_QUESTIONS}}
_USAGE = {
    CLASSIFICATION.name: "call it with a text, a text and its pair, or a list of texts and pairs",
    QA.name: "call it with question=... and context=..., texts or lists of as many",
}


@dataclass(frozen=True)
class Call:
    """What was asked. alone: one input, and not a list."""

    alone: bool
    texts: Sequence[Text] = ()
    questions: Sequence[Question] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    windowing: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, task: str, inputs: object, pair: object, said: Mapping[str, Any]) -> Call:
        """Raises InvalidInput or WrongTask where a model of this task cannot be asked so."""
        if task not in _USAGE:
            raise WrongTask(f"a model of the task {task} cannot be called; run its runtime on prepared inputs")
        said = {name: int(value) if _is_whole(value) else value for name, value in said.items()}  # of NumPy, too
        _check(task, said)
        if task == CLASSIFICATION.name:
            return cls(not isinstance(inputs, list), _texts(inputs, pair), options=said)
        for name, given in zip(_QUESTIONS, (inputs, pair), strict=True):
            if given is not None and said.get(name) is not None:
                raise InvalidInput(f"the {name} is given twice; {_USAGE[task]}")
        question, context = (
            given if given is not None else said.get(name)
            for name, given in zip(_QUESTIONS, (inputs, pair), strict=True)
        )
        return cls(
            isinstance(question, str) and isinstance(context, str),
            questions=_questions(question, context),
            options={name: value for name, value in said.items() if name in _OPTIONS},
            windowing={name: value for name, value in said.items() if name in _WINDOWING},
        )

    def results(self, found: Sequence[Sequence[Score]] | Sequence[Sequence[Answer]]) -> Found:
        """As JSON would have them."""
        rows = [[_plain(each) for each in row] for row in found]
        return rows[0] if self.alone else rows


def _plain(result: Score | Answer) -> dict[str, Any]:
    if isinstance(result, Score):
        return {"label": result.label, "score": result.score}
    return {"answer": result.text, "start": result.start, "end": result.end, "score": result.score}


def _check(task: str, said: Mapping[str, Any]) -> None:
    for name, value in said.items():
        if name not in _KNOWN[task]:
            other = next((kind for kind, names in _KNOWN.items() if name in names), None)
            if other is None:
                raise InvalidInput(f"there is no option of that name; there are {', '.join(sorted(_KNOWN[task]))}")
            raise WrongTask(f"this model is for {task}, and {name} is for {other}; {_USAGE[task]}")
        if name in _SWITCHES and not isinstance(value, bool):
            raise InvalidInput(f"{name} must be true or false")
        if name in _WORDS and not isinstance(value, (str, type(None))):
            raise InvalidInput(f"{name} must be a word")
        if name in {"top_k", "max_answer_length", *_WINDOWING} and not _is_count(value, _usual(task, name)):
            raise InvalidInput(f"{name} must be a whole number")


def _usual(task: str, name: str) -> object:
    return (_LABELLING if task == CLASSIFICATION.name else _OPTIONS | _WINDOWING)[name]


def _is_count(value: object, usual: object) -> bool:
    return (value is None and usual is None) or _is_whole(value)


def _is_whole(value: object) -> TypeGuard[Integral]:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _texts(inputs: object, pair: object) -> list[Text]:
    usage = _USAGE[CLASSIFICATION.name]
    if isinstance(inputs, str) and isinstance(pair, str):
        return [(inputs, pair)]
    if isinstance(inputs, str) and pair is None:
        return [inputs]
    if isinstance(inputs, tuple) and pair is None:
        return [_text(inputs)]
    if not isinstance(inputs, list):
        raise InvalidInput(f"this model labels texts; {usage}")
    if isinstance(pair, (list, tuple)):
        if len(pair) != len(inputs) or not all(isinstance(text, str) for text in (*inputs, *pair)):
            raise InvalidInput(f"texts and their pairs are two lists of as many texts; {usage}")
        return list(zip(inputs, pair, strict=True))
    if pair is not None:
        raise InvalidInput(f"a list of texts takes a list of pairs; {usage}")
    return [_text(item) for item in inputs]


def is_input(item: object) -> bool:
    """Whether it is a text or a pair of texts."""
    if isinstance(item, (list, tuple)):
        return len(item) == 2 and all(isinstance(text, str) for text in item)
    return isinstance(item, str)


def _text(item: Any) -> Text:
    if is_input(item):
        return item if isinstance(item, str) else (item[0], item[1])
    raise InvalidInput(f"an input is neither a text nor a pair of texts; {_USAGE[CLASSIFICATION.name]}")


def _questions(question: object, context: object) -> list[Question]:
    sides = [[side] if isinstance(side, str) else side for side in (question, context)]
    if not all(isinstance(side, (list, tuple)) and all(isinstance(text, str) for text in side) for side in sides):
        raise InvalidInput(f"this model answers questions; {_USAGE[QA.name]}")
    asked, contexts = (list(side) for side in sides if isinstance(side, (list, tuple)))
    if isinstance(context, str):
        contexts *= len(asked)
    if isinstance(question, str):
        asked *= len(contexts)
    if len(asked) != len(contexts):
        raise InvalidInput(f"there are {len(asked)} questions and {len(contexts)} contexts; {_USAGE[QA.name]}")
    return [Question(*both) for both in zip(asked, contexts, strict=True)]
