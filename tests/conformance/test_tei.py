"""Requests as clients of text-embeddings-inference send them, and answers as they read them."""

from __future__ import annotations

import math
from typing import Any

import httpx
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.conftest import TOO_MUCH, Guarded

TEXT = "the film was good"
Flat = list[dict[str, Any]]


def predict(url: str, inputs: object, **more: object) -> Any:
    """The body of a 200."""
    reply = httpx.post(f"{url}/predict", json={"inputs": inputs, **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def same(one: Flat, other: Flat) -> bool:
    """Labels in the same order, scores equal but for the batch they were computed in."""
    return [item["label"] for item in one] == [item["label"] for item in other] and [
        item["score"] for item in one
    ] == pytest.approx([item["score"] for item in other], abs=1e-5)


def test_one_input_gives_a_flat_list_the_highest_first(url: str) -> None:
    """Every label once; probabilities sum to 1."""
    found = predict(url, TEXT)
    assert {frozenset(item) for item in found} == {frozenset({"score", "label"})}
    assert [item["score"] for item in found] == sorted((item["score"] for item in found), reverse=True)
    assert sum(item["score"] for item in found) == pytest.approx(1)
    assert {item["label"] for item in found} == {"LABEL_0", "LABEL_1"}


def test_a_list_of_two_texts_is_a_pair_and_lists_of_lists_are_a_batch(url: str) -> None:
    """A batch mixes texts and pairs, and its rows are what each gives alone."""
    pair = predict(url, [TEXT, "not very dull"])
    assert not same(pair, predict(url, TEXT))
    assert not same(pair, predict(url, ["not very dull", TEXT]))
    assert same(predict(url, [TEXT]), predict(url, TEXT))
    batch = predict(url, [[TEXT], [TEXT, "not very dull"], ["who sang"]])
    assert len(batch) == 3
    for row, alone in zip(batch, (TEXT, [TEXT, "not very dull"], "who sang"), strict=True):
        assert same(row, predict(url, alone))
    assert len(predict(url, [[TEXT]])) == 1


def test_raw_scores_are_the_logits(url: str) -> None:
    """Their softmax is what is given without."""
    raw, found = predict(url, TEXT, raw_scores=True), predict(url, TEXT, raw_scores=False)
    powers = [math.exp(item["score"]) for item in raw]
    assert [item["score"] for item in found] == pytest.approx([power / sum(powers) for power in powers])
    assert same(predict(url, [[TEXT]], raw_scores=True)[0], raw)


def test_a_long_text_is_cut_on_the_side_asked_for_or_refused(url: str) -> None:
    """`right` keeps the beginning, `left` the end; `truncate: false` refuses."""
    room = httpx.get(f"{url}/info").json()["max_input_length"] - 2
    words = ["good"] * room + ["dull"] * room
    assert same(predict(url, " ".join(words), truncate=True), predict(url, " ".join(words[:room])))
    for side, kept in (
        ("right", words[:room]),
        ("Right", words[:room]),
        ("left", words[room:]),
        ("Left", words[room:]),
    ):
        cut = predict(url, " ".join(words), truncate=True, truncation_direction=side)
        assert same(cut, predict(url, " ".join(kept), truncate=False)), side
    assert not same(predict(url, " ".join(words[:room])), predict(url, " ".join(words[room:])))
    reply = httpx.post(f"{url}/predict", json={"inputs": " ".join(words), "truncate": False})
    assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")


def test_the_headers_account_for_the_request(url: str) -> None:
    """Whole milliseconds, characters, tokens."""
    headers = httpx.post(f"{url}/predict", json={"inputs": [[TEXT], ["who sang"]]}).headers
    names = ("compute-time", "total-time", "tokenization-time", "queue-time", "inference-time")
    spent = {name: int(headers[f"x-{name}"]) for name in names}
    assert spent["total-time"] == spent["compute-time"] >= spent["inference-time"]
    assert int(headers["x-compute-characters"]) == len(TEXT) + len("who sang")
    assert int(headers["x-compute-tokens"]) == 6 + 4  # with the two that every text gets
    assert headers["x-compute-type"]


def test_information_has_every_field_that_clients_read(url: str) -> None:
    """With its type; labels both ways."""
    body = httpx.get(f"{url}/info").json()
    texts = ("model_id", "model_sha", "model_dtype", "served_model_name", "version")
    counts = ("max_concurrent_requests", "max_input_length", "max_batch_tokens", "max_client_batch_size")
    assert all(isinstance(body[name], str) and body[name] for name in texts)
    assert all(isinstance(body[name], int) and body[name] > 0 for name in (*counts, "tokenization_workers"))
    assert body["auto_truncate"] is True
    assert {"max_batch_requests", "sha", "docker_label"} <= set(body)
    assert body["model_type"] == {
        "classifier": {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    }


def test_health_is_200(url: str) -> None:
    """On both paths; the body of /ping is empty."""
    assert httpx.get(f"{url}/health").status_code == 200
    ping = httpx.get(f"{url}/ping")
    assert (ping.status_code, ping.content) == (200, b"")


@pytest.mark.parametrize(
    ("content", "status", "kind"),
    [
        (b'{"inputs": []}', 400, "Empty"),
        (b'{"inputs": ["a", "b", "c"]}', 422, "Validation"),
        (b'{"inputs": [["a"], "b"]}', 422, "Validation"),
        (b'{"inputs": [["a", "b", "c"]]}', 422, "Validation"),
        (b'{"inputs": [[]]}', 422, "Validation"),
        (b'{"inputs": 3}', 422, "Validation"),
        (b"{}", 422, "Validation"),
        (b'{"inputs": "a", "truncation_direction": "up"}', 422, "Validation"),
        (b'{"inputs": [' + b",".join([b'["a"]'] * 129) + b"]}", 422, "Validation"),
        (b"{", 400, "Validation"),
    ],
)
def test_errors_have_the_status_and_the_type_of_their_kind(url: str, content: bytes, status: int, kind: str) -> None:
    """`error` in words, `error_type` in Pascal case, and nothing else."""
    reply = httpx.post(f"{url}/predict", content=content, headers={"content-type": "application/json"})
    body = reply.json()
    assert (reply.status_code, body["error_type"]) == (status, kind)
    assert set(body) == {"error", "error_type"}
    assert isinstance(body["error"], str)
    assert body["error"]


def test_overload_is_429(guarded: Guarded) -> None:
    """And says when to come back."""
    headers = {"authorization": f"Bearer {guarded.user}"}
    reply = httpx.post(f"{guarded.url}/predict", json={"inputs": TOO_MUCH}, headers=headers)
    assert (reply.status_code, reply.json()["error_type"]) == (429, "Overloaded")
    assert int(reply.headers["retry-after"]) >= 1


def test_a_service_without_a_classifier_is_a_failed_backend(guarded: Guarded) -> None:
    """424, as clients know it of a model of another kind."""
    headers = {"authorization": f"Bearer {guarded.admin}"}
    with triton.InferenceServerClient(guarded.address) as client:
        client.unload_model("mood", headers=headers)
        try:
            reply = httpx.post(f"{guarded.url}/predict", json={"inputs": TEXT}, headers=headers)
        finally:
            client.load_model("mood", headers=headers)
    assert (reply.status_code, reply.json()["error_type"]) == (424, "Backend")


def test_metrics_are_prometheus_text(url: str) -> None:
    """The parser of Prometheus' own client reads them; the first bucket is near 100 µs."""
    predict(url, TEXT)
    families = {family.name: family for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text)}
    for stage in ("request", "tokenize", "queue", "infer", "postprocess"):
        family = families[f"pgb_{stage}_duration_seconds"]
        assert family.type == "histogram"
        bounds = [float(s.labels["le"]) for s in family.samples if s.name.endswith("_bucket")]
        assert 0 < min(bounds) <= 2e-4
        assert any(s.name.endswith("_count") and s.labels["model"] == "mood" and s.value for s in family.samples)
    for name in (
        "batch_size",
        "batch_tokens",
        "queue_inputs",
        "queue_tokens",
        "rejections",
        "saved_tokens",
        "model_events",
    ):
        assert f"pgb_{name}" in families
