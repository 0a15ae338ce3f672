"""Ranking by models of one label, as clients of TEI and of Cohere ask for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pgb_core.artifact import Artifact
from service.app import create_app
from service.settings import Settings

QUERY = "who sang"
TEXTS = ["the film was dull", "the town sang a song", "not very good", "where it began"]


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path], labelled: Callable[..., Artifact]) -> Iterator[TestClient]:
    """A model of two labels, which is the default, one that answers questions, and one that ranks."""
    named = (*map(str, artifacts), f"rank={labelled('relevant').path}")
    with TestClient(create_app(Settings(artifacts=named, threads=1, max_items=8))) as found:
        yield found


@pytest.fixture(scope="module")
def without(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """Nothing that ranks."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))) as found:
        yield found


def logits(client: TestClient, texts: list[str] | None = None) -> list[float]:
    """Of the model, by the native dialect, of each text with the query."""
    pairs = [{"text": QUERY, "pair": text} for text in texts or TEXTS]
    body = client.post("/v1/classify", json={"inputs": pairs, "model": "rank", "activation": "none"}).json()
    return [row[0]["score"] for row in body["results"]]


def ranks(client: TestClient, **more: object) -> Any:
    """The body of a 200 of /rerank."""
    reply = client.post("/rerank", json={"query": QUERY, "texts": TEXTS, **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_texts_are_ranked_by_the_first_model_of_one_label(client: TestClient) -> None:
    """Each once, by the sigmoid of its logit, the highest first; the logits where they are asked for."""
    raw = logits(client)
    order = sorted(range(len(TEXTS)), key=raw.__getitem__, reverse=True)
    assert order != sorted(order)
    found = ranks(client)
    assert [set(rank) for rank in found] == [{"index", "score"}] * len(TEXTS)
    assert [rank["index"] for rank in found] == order
    assert [rank["score"] for rank in found] == pytest.approx([1 / (1 + math.exp(-raw[n])) for n in order], abs=1e-5)
    assert [rank["score"] for rank in ranks(client, raw_scores=True)] == pytest.approx(
        [raw[n] for n in order], abs=1e-4
    )


def test_texts_are_repeated_where_that_is_asked_for(client: TestClient) -> None:
    """Beside their own place."""
    assert all(rank["text"] == TEXTS[rank["index"]] for rank in ranks(client, return_text=True))


def test_long_texts_are_cut_where_that_is_asked_for(client: TestClient) -> None:
    """On either side, or refused."""
    long = "good " * 100 + "dull " * 100
    cut = {side: ranks(client, texts=[long], truncation_direction=side)[0]["score"] for side in ("Left", "right")}
    assert cut["Left"] != pytest.approx(cut["right"], abs=1e-4)
    reply = client.post("/rerank", json={"query": QUERY, "texts": [long], "truncate": False})
    assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")


def test_the_headers_are_tei_s(client: TestClient) -> None:
    """Those of /predict."""
    headers = client.post("/rerank", json={"query": QUERY, "texts": TEXTS}).headers
    assert int(headers["x-compute-characters"]) == len(QUERY) * len(TEXTS) + sum(map(len, TEXTS))
    assert int(headers["x-total-time"]) >= int(headers["x-inference-time"]) >= 0


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"query": QUERY, "texts": []}, 400, "Empty"),
        ({"query": "", "texts": ["a", ""]}, 400, "Empty"),
        ({"query": "", "texts": ["a"]}, 200, None),
        ({"query": QUERY, "texts": ["a"] * 9}, 422, "Validation"),
        ({"query": QUERY}, 422, "Validation"),
        ({"texts": TEXTS}, 422, "Validation"),
        ({"query": QUERY, "texts": "a"}, 422, "Validation"),
        ({"query": QUERY, "texts": TEXTS, "return_text": "yes"}, 422, "Validation"),
        ({"query": QUERY, "texts": TEXTS, "raw_scores": 1}, 422, "Validation"),
        ({"query": QUERY, "texts": TEXTS, "truncate": "true"}, 422, "Validation"),
        ({"query": QUERY, "texts": TEXTS, "truncation_direction": "up"}, 422, "Validation"),
        ({"query": QUERY, "texts": TEXTS, "model": "any", "top_n": 3}, 200, None),
    ],
)
def test_what_cannot_be_ranked_is_told_as_tei_does(
    client: TestClient, body: dict[str, object], status: int, kind: str | None
) -> None:
    """Fields that it does not know are passed over."""
    reply = client.post("/rerank", json=body)
    assert reply.status_code == status
    assert status == 200 or reply.json()["error_type"] == kind


def test_a_request_for_ranks_is_known_at_the_root_too(client: TestClient) -> None:
    """TEI ranks there when its model does; the answer and errors are its own."""
    assert client.post("/", json={"query": QUERY, "texts": TEXTS}).json() == ranks(client)
    reply = client.post("/", json={"query": QUERY, "texts": []})
    assert (reply.status_code, reply.json()["error_type"]) == (400, "Empty")


@pytest.mark.parametrize("path", ["/", "/invocations"])
@pytest.mark.parametrize(
    "body",
    [
        {"query": QUERY, "texts": 5},
        {"texts": TEXTS},
        {"inputs": QUERY, "truncate": "yes"},
        {"inputs": [["a", "b", "c"]]},
    ],
)
def test_what_does_not_fit_is_told_to_tei_s_clients_as_they_know_it(
    client: TestClient, path: str, body: dict[str, object]
) -> None:
    """And counted as theirs."""
    reply = client.post(path, json=body)
    assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")
    assert set(client.post(path, json={"inputs": 5}).json()) == {"error"}
    assert 'pgb_requests_total{dialect="tei",model="",status="422"}' in client.get("/metrics").text


def test_where_nothing_ranks_the_refusal_says_so(without: TestClient) -> None:
    """As each kind of client knows it of a model of another kind."""
    reply = without.post("/rerank", json={"query": QUERY, "texts": TEXTS})
    assert (reply.status_code, reply.json()["error_type"]) == (424, "Backend")
    assert "more than one label" in reply.json()["error"]
    reply = without.post("/v2/rerank", json={"query": QUERY, "documents": TEXTS})
    assert reply.status_code == 400
    assert set(reply.json()) == {"message"}
    assert "more than one label" in reply.json()["message"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_cohere_s_clients_get_results_in_order(client: TestClient, version: str) -> None:
    """The same scores, with an id, what the model read, and the version of the path."""
    body = client.post(f"/v{version}/rerank", json={"query": QUERY, "documents": TEXTS, "model": "rank"}).json()
    wanted = [(rank["index"], pytest.approx(rank["score"], abs=1e-5)) for rank in ranks(client)]
    assert [(found["index"], found["relevance_score"]) for found in body["results"]] == wanted
    assert all(set(found) == {"index", "relevance_score"} for found in body["results"])
    assert body["id"]
    assert body["model"] == "rank"
    assert body["usage"]["total_tokens"] > len(TEXTS)
    assert body["meta"]["api_version"]["version"] == version


def test_documents_are_texts_or_hold_one(client: TestClient) -> None:
    """`top_n` keeps the first; documents are repeated where that is asked for."""
    plain = client.post("/v1/rerank", json={"query": QUERY, "documents": TEXTS}).json()["results"]
    given = {"query": QUERY, "documents": [{"text": text, "title": "a"} for text in TEXTS], "rank_fields": ["text"]}
    found = client.post("/v1/rerank", json={**given, "top_n": 2, "return_documents": True}).json()["results"]
    assert [result["index"] for result in found] == [result["index"] for result in plain[:2]]
    assert all(result["document"] == {"text": TEXTS[result["index"]]} for result in found)
    assert len(client.post("/v1/rerank", json={**given, "top_n": 99}).json()["results"]) == len(TEXTS)


def test_documents_are_cut_where_that_is_asked_for(client: TestClient) -> None:
    """Query and document together have so many tokens at most."""

    def score(text: str, **more: object) -> float:
        asked = {"query": QUERY, "documents": [text], **more}
        found: float = client.post("/v2/rerank", json=asked).json()["results"][0]["relevance_score"]
        return found

    assert score("good " * 20, max_tokens_per_doc=10) == pytest.approx(score("good " * 5), abs=1e-5)
    assert score("good " * 20) != pytest.approx(score("good " * 5), abs=1e-5)
    assert score("good " * 20, max_tokens_per_doc=4096) == pytest.approx(score("good " * 20), abs=1e-5)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"model": "mood"}, 400),
        ({"model": "who"}, 400),
        ({"model": "rerank-v3.5"}, 404),
        ({"query": ""}, 422),
        ({"documents": []}, 422),
        ({"documents": [""] * 9}, 413),
        ({"documents": [{"title": "a"}]}, 422),
        ({"top_n": 0}, 422),
        ({"return_documents": 1}, 422),
        ({"rank_fields": ["title"]}, 422),
        ({"max_tokens_per_doc": 7}, 422),
        ({"return_text": True}, 422),
        ({"max_chunks_per_doc": 10, "priority": 0}, 200),
    ],
)
def test_what_cannot_be_is_refused_with_a_message(client: TestClient, more: dict[str, object], status: int) -> None:
    """Unknown fields too: an option that is passed over gives a wrong answer that looks right."""
    reply = client.post("/v2/rerank", json={"query": QUERY, "documents": TEXTS, **more})
    assert reply.status_code == status
    assert status == 200 or set(reply.json()) == {"message"}


def test_information_tells_what_ranks(labelled: Callable[..., Artifact]) -> None:
    """A model of one label is a reranker to TEI's clients, and labels as well."""
    with TestClient(create_app(Settings(artifacts=(str(labelled("relevant").path),), threads=1))) as client:
        named = {"id2label": {"0": "relevant"}, "label2id": {"relevant": 0}}
        assert client.get("/info").json()["model_type"] == {"reranker": named}
        ((score,),) = client.post("/predict", json={"inputs": [["the film"]]}).json()
        assert score["label"] == "relevant"
        assert 0 < score["score"] < 1


@pytest.mark.parametrize("path", ["/embed", "/embed_all", "/embed_sparse", "/similarity", "/tokenize", "/decode"])
def test_paths_of_tei_that_are_not_served_are_refused_in_its_words(without: TestClient, path: str) -> None:
    """404, where its clients read `error` and `error_type`."""
    reply = without.post(path, json={"inputs": "a"})
    assert reply.status_code == 404
    assert set(reply.json()) == {"error", "error_type"}


def test_a_status_at_the_root_is_documented_for_either_client(without: TestClient) -> None:
    """That of a model of another kind too, which only TEI's clients get."""
    reply = without.post("/", json={"query": QUERY, "texts": TEXTS})
    assert (reply.status_code, reply.json()["error_type"]) == (424, "Backend")
    documented = without.get("/openapi.json").json()["paths"]["/"]["post"]["responses"]
    assert {"200", "400", "422", "424"} <= set(documented)
