"""A loaded artifact called as a function: plain dicts, which are those of the service's JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pgb_core.inference.errors import EmptyInput, InferenceError, InvalidInput, WrongTask
from pgb_core.inference.load import Loaded

CONTEXT = "the film was very good and the town sang a song. " * 6
Asked = Callable[[Loaded], Any]


def same(found: list[list[dict[str, Any]]], wanted: list[list[dict[str, Any]]]) -> None:
    """The same results, and scores that are equal but for the order of additions."""
    assert [[{**each, "score": 0} for each in row] for row in found] == [
        [{**each, "score": 0} for each in row] for row in wanted
    ]
    for row, expected in zip(found, wanted, strict=True):
        assert [each["score"] for each in row] == pytest.approx([each["score"] for each in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (lambda m: [m("good film")], {"inputs": "good film"}),
        (lambda m: m(["good film", "dull " * 90]), {"inputs": ["good film", "dull " * 90]}),
        (lambda m: [m("good", "film")], {"inputs": {"text": "good", "pair": "film"}}),
        (lambda m: [m(("good", "film"))], {"inputs": {"text": "good", "pair": "film"}}),
        (
            lambda m: m(["a", ("good", "film")], top_k=1, activation="sigmoid"),
            {"inputs": ["a", {"text": "good", "pair": "film"}], "top_k": 1, "activation": "sigmoid"},
        ),
        (
            lambda m: m(["a", "good"], ["the", "film"]),
            {"inputs": [{"text": "a", "pair": "the"}, {"text": "good", "pair": "film"}]},
        ),
    ],
)
def test_labels_are_plain_and_the_service_s(
    loaded: tuple[Loaded, Loaded], client: TestClient, ask: Asked, body: dict[str, Any]
) -> None:
    """One text, a list, pairs by two arguments or as tuples, with options."""
    same(ask(loaded[0]), client.post("/v1/classify", json=body).json()["results"])


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (lambda m: [m(question="who sang", context=CONTEXT)], {}),
        (lambda m: [m("who sang", CONTEXT)], {}),
        (lambda m: [m("who sang", context=CONTEXT)], {}),
        (
            lambda m: [m("who sang", CONTEXT, top_k=3, max_answer_length=4, handle_impossible=True, stride=8)],
            {"top_k": 3, "max_answer_length": 4, "handle_impossible": True, "stride": 8},
        ),
        (
            lambda m: [m("who sang", CONTEXT, max_length=32, align_to_words=False)],
            {"max_length": 32, "align_to_words": False},
        ),
    ],
)
def test_answers_are_plain_and_the_service_s(
    loaded: tuple[Loaded, Loaded], client: TestClient, ask: Asked, body: dict[str, Any]
) -> None:
    """By name or in order, with every option."""
    reply = client.post("/v1/answer", json={"question": "who sang", "context": CONTEXT, **body})
    same(ask(loaded[1]), reply.json()["results"])


def test_a_whole_number_of_numpy_is_one(loaded: tuple[Loaded, Loaded]) -> None:
    """As a loop over a range of NumPy gives it; of few bits, too, in which sums would be others."""
    labels, answers = loaded
    assert labels("good film", top_k=np.int64(1)) == labels("good film", top_k=1)
    asked = {"question": "who sang", "context": CONTEXT}
    assert answers(**asked, top_k=np.uint8(125)) == answers(**asked, top_k=125)
    with pytest.raises(InvalidInput, match="top_k must be a whole number"):
        labels("good film", top_k=np.float64(1))


def test_many_questions_on_many_contexts_or_on_one(loaded: tuple[Loaded, Loaded]) -> None:
    """Whichever is a list gives a list, and each has the answers of a call of its own."""
    _, model = loaded
    alone = [model(who, CONTEXT) for who in ("who sang", "where")]
    same(model(["who sang", "where"], CONTEXT), alone)
    same(model(question=["who sang", "where"], context=[CONTEXT, CONTEXT]), alone)
    same(model("who sang", [CONTEXT, "the town"]), [alone[0], model("who sang", "the town")])


@pytest.mark.parametrize(
    ("model", "ask", "error", "says"),
    [
        (0, lambda m: m(), InvalidInput, "call it with a text, a text and its pair, or a list"),
        (0, lambda m: m(7), InvalidInput, "this model labels texts"),
        (0, lambda m: m([7]), InvalidInput, "an input is neither a text nor a pair"),
        (0, lambda m: m([("a", "b", "c")]), InvalidInput, "an input is neither a text nor a pair"),
        (0, lambda m: m(["a"], "b"), InvalidInput, "a list of texts takes a list of pairs"),
        (0, lambda m: m(["a"], ["b", "c"]), InvalidInput, "two lists of as many texts"),
        (0, lambda m: m([]), EmptyInput, "there is no input"),
        (0, lambda m: m("a", question="who"), WrongTask, "question is for qa; call it with a text"),
        (0, lambda m: m("a", align_to_words=True), WrongTask, "this model is for classification, and align_to_words"),
        (0, lambda m: m("a", topk=1), InvalidInput, "there are activation, max_length, pool, side, stride, top_k"),
        (0, lambda m: m("a", top_k="1"), InvalidInput, "top_k must be a whole number"),
        (0, lambda m: m("a", top_k=True), InvalidInput, "top_k must be a whole number"),
        (0, lambda m: m("a", top_k=0), InvalidInput, "top_k must be at least 1"),
        (0, lambda m: m("a", truncate=1), InvalidInput, "truncate must be true or false"),
        (0, lambda m: m("a", activation=1), InvalidInput, "activation must be a word"),
        (0, lambda m: m("a " * 99, truncate=False), InvalidInput, "more than 64 tokens"),
        (0, lambda m: m("a", stride=3), InvalidInput, "stride is for windows, which pool asks for"),
        (0, lambda m: m("a", pool="max", truncate=False), InvalidInput, "truncate .* leave one of them out"),
        (0, lambda m: m("a", pool="max", side="left"), InvalidInput, "side .* leave one of them out"),
        (1, lambda m: m("who"), InvalidInput, "call it with question=... and context=..."),
        (1, lambda m: m(question="who"), InvalidInput, "this model answers questions"),
        (1, lambda m: m([("who", "a")]), InvalidInput, "this model answers questions"),
        (1, lambda m: m("who", "a", context="b"), InvalidInput, "the context is given twice"),
        (1, lambda m: m(["who"] * 2, ["a"] * 3), InvalidInput, "there are 2 questions and 3 contexts"),
        (1, lambda m: m([], []), EmptyInput, "there is no input"),
        (1, lambda m: m("who", "a", activation="none"), WrongTask, "activation is for classification"),
        (1, lambda m: m("who", "a", top_k=None), InvalidInput, "top_k must be a whole number"),
        (1, lambda m: m("who", "a", max_length=1.5), InvalidInput, "max_length must be a whole number"),
        (1, lambda m: m(" ", "a"), EmptyInput, "a question or a context is empty"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    loaded: tuple[Loaded, Loaded], model: int, ask: Asked, error: type[InferenceError], says: str
) -> None:
    """With the way to ask this model, and without what was given."""
    with pytest.raises(error, match=says):
        ask(loaded[model])
