"""The Hugging Face dialect: what its parameters do, and whose requests / knows beside its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings

TEXT = "the film was very good and not dull"
CONTEXT = "the town sang a song where it began"
LONG = f"{'a' * 6_000} " * 32  # a word that long is one token


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """Both models."""
    settings = Settings(artifacts=tuple(map(str, artifacts)), threads=1, max_items=8)
    with TestClient(create_app(settings)) as found:
        yield found


def counted(client: TestClient, dialect: str) -> float:
    """How many requests of a dialect were answered."""
    name = f'pgb_requests_total{{dialect="{dialect}",model="mood",status="200"}} '
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].removeprefix(name)) if lines else 0.0


def ask(client: TestClient, inputs: object, /, path: str = "/", **parameters: object) -> Any:
    """The body of a 200."""
    reply = client.post(path, json={"inputs": inputs, "parameters": parameters})
    assert reply.status_code == 200, reply.text
    return reply.json()


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Labels in the same order, scores equal but for the batch they were computed in."""
    return [item["label"] for item in one] == [item["label"] for item in other] and [
        item["score"] for item in one
    ] == pytest.approx([item["score"] for item in other], abs=1e-5)


@pytest.mark.parametrize(
    "more", [{"truncate": True}, {"raw_scores": False}, {"truncation_direction": "Right"}, {"truncate": None}]
)
def test_a_field_that_only_tei_knows_makes_it_tei_s(client: TestClient, more: dict[str, object]) -> None:
    """Flat, with its headers, as /predict; counted as its dialect."""
    before = counted(client, "tei")
    reply = client.post("/", json={"inputs": TEXT, **more})
    assert reply.status_code == 200
    assert counted(client, "tei") == before + 1
    assert same(reply.json(), client.post("/predict", json={"inputs": TEXT}).json())
    assert int(reply.headers["x-compute-characters"]) == len(TEXT)


def test_a_batch_of_lists_is_tei_s(client: TestClient) -> None:
    """Rows of texts and pairs."""
    given = [["the film"], ["the film", "not dull"]]
    found = client.post("/", json={"inputs": given}).json()
    for row, other in zip(found, client.post("/predict", json={"inputs": given}).json(), strict=True):
        assert same(row, other)


def test_two_texts_with_a_field_of_tei_are_its_pair(client: TestClient) -> None:
    """And without one two texts."""
    given = ["the film", "not dull"]
    pair = client.post("/", json={"inputs": given, "truncate": True}).json()
    assert same(pair, client.post("/predict", json={"inputs": given}).json())
    assert [len(row) for row in client.post("/", json={"inputs": given}).json()] == [2, 2]


def test_with_parameters_it_is_hugging_face_s(client: TestClient) -> None:
    """Nested; then a list of two texts within the list is a pair, and a field of TEI is unknown."""
    (row,) = ask(client, [["the film", "not dull"]])
    assert same(row, client.post("/predict", json={"inputs": ["the film", "not dull"]}).json())
    reply = client.post("/", json={"inputs": TEXT, "parameters": {}, "truncate": True})
    assert reply.status_code == 422
    assert "unknown field" in reply.json()["error"]


def test_errors_of_a_request_of_tei_are_told_as_its_own(client: TestClient) -> None:
    """With a type, and its status."""
    reply = client.post("/", json={"inputs": "", "truncate": True})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "Empty")
    reply = client.post("/", json={"inputs": [["a"]] * 9})
    assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")
    assert client.post("/", json={"inputs": ["a"] * 9}).status_code == 413


def test_several_questions_go_into_one_input(client: TestClient) -> None:
    """About one context or one each, as the pipeline takes them; a single one is answered by itself."""
    asked = ["who sang", "where it began"]
    alone = [ask(client, {"question": question, "context": CONTEXT}) for question in asked]
    together = ask(client, {"question": asked, "context": CONTEXT})
    assert [found["answer"] for found in together] == [found["answer"] for found in alone]
    other = CONTEXT + " and the film"
    each = ask(client, {"question": asked, "context": [CONTEXT, other]})
    wanted = ask(client, {"question": asked[1], "context": other})
    assert [found["answer"] for found in each] == [alone[0]["answer"], wanted["answer"]]
    assert ask(client, {"question": asked[:1], "context": CONTEXT}, path="/models/who")["answer"] == alone[0]["answer"]


def test_a_context_that_holds_no_answer_gets_an_empty_one(client: TestClient) -> None:
    """Clients make an answer of what they get, and cannot make one of an empty list."""
    blank = {"question": "who sang", "context": " \n "}
    none = {"answer": "", "start": 0, "end": 0, "score": 0.0}
    for path in ("/", "/models/who", "/invocations"):
        assert ask(client, blank, path=path) == none
        assert ask(client, blank, path=path, top_k=3) == none
        assert ask(client, [blank], path=path) == [none]
    both = ask(client, [blank, {**blank, "context": CONTEXT}])
    assert both[0] == none
    assert both[1]["answer"]
    assert client.post("/v1/answer", json=blank).json()["results"] == [[]]


@pytest.mark.parametrize(
    ("inputs", "status", "said"),
    [
        ({"question": ["a", "b"], "context": ["c"]}, 422, "different lengths"),
        ({"question": [], "context": "c"}, 422, "at least 1 item"),
        ({"question": "a", "context": ["c"]}, 422, "context: Input should be a valid string"),
        ({"question": ["a"] * 9, "context": "c"}, 413, "too many"),
        ({"question": ["a", ""], "context": "c"}, 422, "empty"),
        ([{"question": "a"}], 422, "context: Field required"),
        ([], 422, "at least 1 item"),
        ({"text": 7}, 422, "text: Input should be a valid string"),
        (7, 422, "inputs: Input should be a valid string"),
    ],
)
def test_an_error_tells_of_the_form_that_was_meant(client: TestClient, inputs: object, status: int, said: str) -> None:
    """And of no other."""
    reply = client.post("/", json={"inputs": inputs})
    assert reply.status_code == status
    assert said in reply.json()["error"]
    assert ";" not in reply.json()["error"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"question": ["a"] * 8, "context": LONG},
        {"question": ["a"] * 8, "context": [LONG] * 8},
        [{"question": "a", "context": LONG}] * 8,
        {"question": [LONG] * 8, "context": "the town"},
    ],
    ids=["one context", "contexts", "questions in a list", "long questions"],
)
def test_questions_that_take_too_long_to_tokenise_are_refused(client: TestClient, inputs: object) -> None:
    """The same context counts once for each question: one body may repeat it often."""
    reply = client.post("/", json={"inputs": inputs})
    assert reply.status_code == 413
    assert "too long to tokenise" in reply.json()["error"]
    assert ask(client, {"question": ["who sang"] * 8, "context": CONTEXT})


def test_texts_are_cut_at_max_length(client: TestClient) -> None:
    """Of tokens, the two that every text gets among them; more than the model takes is the model's."""
    cut = ask(client, TEXT, max_length=8)[0]
    assert same(cut, ask(client, "the film was very good and")[0])
    assert not same(cut, ask(client, TEXT)[0])
    assert same(ask(client, TEXT, max_length=512, truncation=True, padding=True, batch_size=4)[0], ask(client, TEXT)[0])


def test_texts_that_may_not_be_cut_are_refused(client: TestClient) -> None:
    """Where truncation says so, and they are too long."""
    for value in (False, "do_not_truncate"):
        assert ask(client, TEXT, truncation=value)
        reply = client.post("/", json={"inputs": TEXT, "parameters": {"truncation": value, "max_length": 8}})
        assert reply.status_code == 422
        assert "more than max_length tokens" in reply.json()["error"]
    given = {"truncation": False, "max_length": 10_000}
    reply = client.post("/", json={"inputs": f"{TEXT} " * 99, "parameters": given})
    assert re.search(r"more than \d{2,3} tokens, which is the limit", reply.json()["error"])


def test_return_all_scores_does_what_it_says(client: TestClient) -> None:
    """All labels, or the best alone; `top_k` is more precise."""
    assert len(ask(client, TEXT, return_all_scores=True)[0]) == 2
    assert ask(client, TEXT, return_all_scores=False)[0] == ask(client, TEXT, top_k=1)[0]
    assert len(ask(client, TEXT, return_all_scores=False, top_k=2)[0]) == 2


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"return_all_scores": "yes"}, "return_all_scores"),
        ({"handle_impossible_answer": 1}, "handle_impossible_answer"),
        ({"max_length": 7}, "max_length"),
        ({"batch_size": 0}, "batch_size"),
        ({"truncation": "sometimes"}, "truncation"),
        ({"multi_label": True}, "candidate_labels"),
        ({"hypothesis_template": "It is {}."}, "candidate_labels"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(client: TestClient, parameters: dict[str, object], said: str) -> None:
    """By its name."""
    reply = client.post("/", json={"inputs": TEXT, "parameters": parameters})
    assert reply.status_code == 422
    assert said in reply.json()["error"]


def test_of_a_pair_the_longer_text_is_cut(client: TestClient) -> None:
    """Another rule is refused; of a text alone it is the same."""
    given = {"text": "a", "text_pair": "b"}
    reply = client.post("/", json={"inputs": given, "parameters": {"truncation": "only_second"}})
    assert reply.status_code == 422
    assert "cut at its longer text" in reply.json()["error"]
    assert same(ask(client, TEXT, truncation="only_first")[0], ask(client, TEXT)[0])


def test_parameters_in_the_address_are_refused(client: TestClient) -> None:
    """They would be passed over; other words there are not ours."""
    for path in ("/", "/models/mood"):
        reply = client.post(f"{path}?top_k=1", json={"inputs": TEXT})
        assert reply.status_code == 422
        assert "in the body" in reply.json()["error"]
        assert client.post(f"{path}?from=here", json={"inputs": TEXT}).status_code == 200


@pytest.mark.parametrize("body", [{"truncate": "yes"}, {"raw_scores": 1}, {"raw_scores": "true"}, {"truncate": 0}])
@pytest.mark.parametrize("path", ["/", "/predict"])
def test_booleans_of_tei_are_booleans(client: TestClient, path: str, body: dict[str, object]) -> None:
    """No words and no numbers."""
    reply = client.post(path, json={"inputs": TEXT, **body})
    assert reply.status_code == 422
    assert "valid boolean" in reply.json()["error"]


@pytest.mark.parametrize("inputs", ["", [""], ["", ""], [["a"], [""]], [["", ""]]])
def test_an_empty_input_is_empty_to_tei(client: TestClient, inputs: object) -> None:
    """A pair is not while one of its texts is."""
    reply = client.post("/predict", json={"inputs": inputs})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "Empty")
    assert client.post("/predict", json={"inputs": ["a", ""]}).status_code == 200
