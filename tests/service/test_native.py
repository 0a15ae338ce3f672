"""The native dialect: answers, timings, and what bad input gets."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fastapi.testclient import TestClient
from tokenizers import Tokenizer

from pgb_core.machine import usable_cores
from service import engine

CONTEXT = "the film was very good and it began where the town sang a dull song"


def test_scores_equal_the_graph_s_own(client: TestClient, artifacts: tuple[Path, Path]) -> None:
    """One text over HTTP against tokeniser and session by hand."""
    encoding = Tokenizer.from_file(str(artifacts[0] / "tokenizer.json")).encode("the film was dull")
    feed = {
        "input_ids": np.array([encoding.ids]),
        "attention_mask": np.array([encoding.attention_mask]),
        "token_type_ids": np.array([encoding.type_ids]),
    }
    (logits,) = onnxruntime.InferenceSession(str(artifacts[0] / "model.onnx")).run(None, feed)
    wanted = np.exp(logits[0]) / np.exp(logits[0]).sum()
    (scores,) = client.post("/v1/classify", json={"inputs": "the film was dull"}).json()["results"]
    assert {s["label"]: s["score"] for s in scores} == pytest.approx(
        {"LABEL_0": wanted[0], "LABEL_1": wanted[1]}, abs=1e-5
    )
    assert scores[0]["score"] >= scores[1]["score"]


def test_many_inputs_are_answered_in_the_order_asked(client: TestClient) -> None:
    """A batch of texts and pairs gives what each gives alone."""
    inputs: list[Any] = ["the film", "a very very very dull song", {"text": "who sang", "pair": "the town"}, "good"]
    together = client.post("/v1/classify", json={"inputs": inputs}).json()
    for item, row in zip(inputs, together["results"], strict=True):
        (alone,) = client.post("/v1/classify", json={"inputs": item}).json()["results"]
        assert [s["label"] for s in alone] == [s["label"] for s in row]
        assert [s["score"] for s in alone] == pytest.approx([s["score"] for s in row], abs=1e-5)
    assert together["batch_size"] in range(1, 5)


def test_activation_and_top_k_by_request(client: TestClient) -> None:
    """Sigmoid scores need not sum to one; none gives logits; top_k cuts."""
    found = {
        name: client.post("/v1/classify", json={"inputs": "the film", "activation": name}).json()["results"][0]
        for name in ("softmax", "sigmoid", "none")
    }
    logits = {s["label"]: s["score"] for s in found["none"]}
    for s in found["sigmoid"]:
        assert s["score"] == pytest.approx(1 / (1 + np.exp(-logits[s["label"]])), abs=1e-6)
    assert sum(s["score"] for s in found["softmax"]) == pytest.approx(1)
    assert len(client.post("/v1/classify", json={"inputs": "the film", "top_k": 1}).json()["results"][0]) == 1


def test_many_labels_are_put_in_order_in_parts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the event loop, as thousands of labels of many texts take long; in the same order."""
    asked = {"inputs": ["the film", "a dull song", "who sang"]}
    whole = client.post("/v1/classify", json=asked).json()["results"]
    monkeypatch.setattr(engine, "_INLINE_COST", 3)
    parts = client.post("/v1/classify", json=asked).json()["results"]
    assert [[s["label"] for s in row] for row in parts] == [[s["label"] for s in row] for row in whole]
    assert parts[2][0]["score"] == pytest.approx(whole[2][0]["score"], abs=1e-5)


def test_labels_of_all_answers_are_limited_in_all(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the model runs; two labels here have fourteen characters."""
    monkeypatch.setattr(engine, "MOST_CHARACTERS", 50)
    texts = ["the film"] * 4
    assert client.post("/v1/classify", json={"inputs": texts[:3]}).status_code == 200
    assert client.post("/v1/classify", json={"inputs": texts}).status_code == 413
    assert client.post("/v1/classify", json={"inputs": texts, "top_k": 1}).status_code == 200
    assert client.post("/v1/classify", json={"inputs": texts * 2, "top_k": 1}).status_code == 413
    tensor = {"name": "text", "shape": [4], "datatype": "BYTES", "data": texts}
    for outputs, status in (([], 200), ([{"name": "scores", "parameters": {"classification": 2}}], 400)):
        reply = client.post("/v2/models/mood/infer", json={"inputs": [tensor], "outputs": outputs})
        assert reply.status_code == status


def test_scores_of_all_answers_are_limited_in_all(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However short the labels are, and also in v2, whose answers have no labels. Two labels here."""
    monkeypatch.setattr(engine, "MOST_SCORES", 7)
    texts = ["the film"] * 4
    assert client.post("/v1/classify", json={"inputs": texts[:3]}).status_code == 200
    assert client.post("/v1/classify", json={"inputs": texts}).status_code == 413
    assert client.post("/predict", json={"inputs": [[text] for text in texts]}).status_code == 422
    assert client.post("/v1/classify", json={"inputs": texts, "top_k": 1}).status_code == 200
    tensor = {"name": "text", "shape": [4], "datatype": "BYTES", "data": texts}
    best, every = {"name": "label"}, {"name": "scores", "parameters": {"binary_data": True}}
    for outputs, status in (([], 400), ([best, every], 400), ([best], 200)):
        reply = client.post("/v2/models/mood/infer", json={"inputs": [tensor], "outputs": outputs})
        assert reply.status_code == status


def test_an_answer_stands_where_it_says(client: TestClient) -> None:
    """Offsets are characters of the context as it was sent, also over several windows."""
    asked = {"question": "who sang", "context": CONTEXT * 5, "top_k": 3, "max_length": 24, "stride": 6}
    body = client.post("/v1/answer", json=asked).json()
    (answers,) = body["results"]
    assert len(answers) == 3
    assert body["batch_size"] > 1
    for a in answers:
        assert asked["context"][a["start"] : a["end"]] == a["answer"] != ""  # type: ignore[index]
    assert [a["score"] for a in answers] == sorted((a["score"] for a in answers), reverse=True)


def test_many_questions_share_a_batch(client: TestClient) -> None:
    """And each gets its own answer."""
    inputs = [{"question": q, "context": CONTEXT} for q in ("who sang", "where it began", "the film")]
    together = client.post("/v1/answer", json={"inputs": inputs}).json()
    for item, row in zip(inputs, together["results"], strict=True):
        (alone,) = client.post("/v1/answer", json=item).json()["results"]
        assert alone[0]["answer"] == row[0]["answer"]
        assert alone[0]["score"] == pytest.approx(row[0]["score"], abs=1e-5)


@pytest.mark.parametrize("path", ["classify", "answer"])
def test_body_and_header_tell_the_same_time(client: TestClient, path: str) -> None:
    """Stage by stage, and the stages make up the total."""
    asked = {"inputs": "the film"} if path == "classify" else {"question": "who", "context": CONTEXT}
    reply = client.post(f"/v1/{path}", json=asked)
    timings = reply.json()["timings"]
    stages = {
        part.split(";dur=")[0]: float(part.split(";dur=")[1]) for part in reply.headers["server-timing"].split(", ")
    }
    names = {"tok": "tokenize", "queue": "queue", "infer": "infer", "post": "postprocess", "total": "total"}
    assert {names[name]: value for name, value in stages.items()} == timings
    parts = [timings[name] for name in ("tokenize", "queue", "infer", "postprocess")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(timings["total"], abs=0.01)


SECRET = "zq-secret-zq"
HOSTILE = [
    (b"", 400, 422),
    (b"{", 400, 400),
    (b"\xff\xfe", 400, 400),
    (b"[" * 5000, 413, 413),
    (b"null", 422, 422),
    (json.dumps({"inputs": []}).encode(), 422, 422),
    (json.dumps({"inputs": ""}).encode(), 422, 422),
    (json.dumps({"inputs": [SECRET, 7]}).encode(), 422, 422),
    (json.dumps({"inputs": {"text": SECRET}}).encode(), 422, 422),
    (json.dumps({"inputs": SECRET, SECRET: 1}).encode(), 422, 422),
    (json.dumps({"inputs": SECRET, "activation": SECRET}).encode(), 422, 422),
    (json.dumps({"inputs": SECRET, "top_k": 0}).encode(), 422, 422),
    (json.dumps({"inputs": SECRET, "top_k": 10**30}).encode(), 200, 422),
    (json.dumps({"inputs": SECRET, "model": SECRET}).encode(), 404, 404),
    (json.dumps({"inputs": SECRET, "model": "who"}).encode(), 400, 400),
    (b'{"inputs": "\\ud800 zq-secret-zq"}', 400, 400),
    (b'{"inputs": "\\u0000 zq-secret-zq"}', 200, 200),
    (b'{"inputs": NaN}', 400, 400),
    (json.dumps({"inputs": [SECRET] * 9}).encode(), 413, 413),
    (json.dumps({"inputs": SECRET * 500}).encode(), 413, 413),
    (json.dumps({"inputs": SECRET * 5000}).encode(), 413, 413),
]


@pytest.mark.parametrize(("content", "low", "high"), HOSTILE, ids=range(len(HOSTILE)))
def test_bad_input_gets_a_clear_4xx_and_no_echo(client: TestClient, content: bytes, low: int, high: int) -> None:
    """Malformed, mistyped, unknown, too large: never a 5xx, never what was sent."""
    reply = client.post("/v1/classify", content=content, headers={"content-type": "application/json"})
    assert low <= reply.status_code <= high
    if reply.status_code != 200:
        assert set(reply.json()) == {"error"}
        assert set(reply.json()["error"]) == {"code", "message"}
        assert reply.json()["error"]["message"]
        assert SECRET not in reply.text


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (["a", 5], "inputs.1: Input should be a valid string; inputs.1: Input should be a JSON object"),
        (["a", ""], "inputs.1: String should have at least 1 character"),
        ("", "inputs: String should have at least 1 character"),
        ([], "inputs: List should have at least 1 item after validation, not 0"),
        ([{"text": "a"}], "inputs.0.pair: Field required"),
        (
            {"text": "a", "text_pair": "b"},
            "inputs.pair: Field required; inputs.text_pair.(unknown field): Extra inputs are not permitted",
        ),
        (
            5,
            "inputs: Input should be a valid string; inputs: Input should be a JSON object; "
            "inputs: Input should be a valid list",
        ),
    ],
)
def test_an_error_tells_of_what_was_sent_and_not_of_what_else_it_might_have_been(
    client: TestClient, inputs: object, said: str
) -> None:
    """A list is not told that it is no text, unless it can be neither."""
    reply = client.post("/v1/classify", json={"inputs": inputs})
    assert (reply.status_code, reply.json()["error"]["message"]) == (422, said)


@pytest.mark.parametrize(
    "asked",
    [
        {"question": "who"},
        {"question": "who", "context": CONTEXT, "inputs": [{"question": "who", "context": CONTEXT}]},
        {"question": "who " * 100, "context": CONTEXT},
        {"question": "who", "context": CONTEXT, "max_length": 16, "stride": 16},
        {"question": "who", "context": CONTEXT, "max_answer_length": 0},
        {"question": " ", "context": CONTEXT},
        {"question": "who", "context": " "},
    ],
)
def test_questions_that_cannot_be_answered_are_refused_or_answered_empty(
    client: TestClient, asked: dict[str, Any]
) -> None:
    """A missing half, both forms at once, no room for the context, bounds; blank context holds no answer."""
    reply = client.post("/v1/answer", json=asked)
    if asked.get("context") == " ":
        assert (reply.status_code, reply.json()["results"]) == (200, [[]])
    else:
        assert reply.status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/classify?model=who", {"inputs": "the film"}, 422),
        ("/v1/classify?top_k=1&x", {"inputs": "the film"}, 422),
        ("/v1/answer?handle_impossible=true", {"question": "who sang", "context": "the town"}, 422),
        ("/predict?raw_scores=true", {"inputs": "the film"}, 422),
        ("/v1/rerank?top_n=1", {"query": "the film", "documents": ["the town"]}, 422),
        ("/v1/models/mood:predict?instances=a", {"instances": ["the film"]}, 400),
        ("/v1/models/mood:predict?inputs=a", {"instances": ["the film"]}, 400),
        ("/?raw_scores=true", {"inputs": "the film"}, 422),
        ("/?inputs=a", {"inputs": "the film"}, 422),
        ("/invocations?texts=a", {"inputs": "the film"}, 422),
        ("/?request=7", {"inputs": "the film"}, 200),
        ("/v1/classify?request=7", {"inputs": "the film"}, 200),
        ("/v1/models/mood/classify", {"inputs": "the film", "model": "who"}, 422),
        ("/v1/models/who/answer", {"question": "who sang", "context": "the town", "model": "mood"}, 422),
        ("/v1/models/mood/classify", {"inputs": "the film", "model": "mood"}, 200),
    ],
)
def test_what_would_be_passed_over_is_refused(client: TestClient, path: str, body: object, status: int) -> None:
    """Fields of the body in the address, and another model in the body than in the path."""
    assert client.post(path, json=body).status_code == status


def test_other_paths_and_methods_answer_in_the_same_shape(client: TestClient) -> None:
    """404 and 405."""
    assert client.get("/nowhere").json()["error"]["message"] == "no such path"
    assert client.get("/v1/classify").status_code == 405


def test_health_and_models_name_what_is_served(client: TestClient) -> None:
    """Names, versions, tasks, what was kept and what was measured."""
    body = client.get("/health").json()
    assert body["status"] == "ready"
    assert [m["name"] for m in body["models"]] == ["mood", "who"]
    found = client.get("/v1/models").json()
    assert [(m["name"], m["task"], m["share"], m["default"]) for m in found["models"]] == [
        ("mood", "classification", 1.0, True),
        ("who", "qa", 1.0, True),
    ]
    assert all(abs(m["weights_kept"] - 0.5) < 0.02 and m["version"].isdigit() for m in found["models"])
    assert all("parity" in m["measured"] for m in found["models"])
    assert {m["activation"] for m in found["models"]} == {"softmax"}
    assert {state["state"] for state in found["states"]} == {"READY"}


def test_the_threads_that_tokenise_are_told(client: TestClient) -> None:
    """As many as long texts may be tokenised at a time."""
    assert client.get("/info").json()["tokenization_workers"] == usable_cores()


def test_the_examples_in_the_api_s_description_run(client: TestClient) -> None:
    """Every example of the OpenAPI page is a request that works."""
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for path, name in (("classify", "ClassifyRequest"), ("answer", "AnswerRequest")):
        for example in schemas[name]["examples"]:
            assert client.post(f"/v1/{path}", json=example).status_code == 200
