"""The first protocol of KServe, and what SageMaker asks of a container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.keys import make_key
from service.settings import Settings

QUESTION = {"question": "who sang", "context": "the town sang a song and the film was good"}
MOOD, WHO = "/v1/models/mood:predict", "/v1/models/who:predict"


@pytest.mark.parametrize("field", ["instances", "inputs"])
def test_a_classifier_gives_the_labels_of_each_instance(client: TestClient, field: str) -> None:
    """Texts and pairs, in their order, as the native dialect labels them; fields that others know are passed over."""
    given = ["the film", {"text": "a dull song"}, {"text": "the town", "text_pair": "very good"}]
    reply = client.post(MOOD, json={field: given, "signature_name": "a"})
    native = client.post(
        "/v1/models/mood/classify",
        json={"inputs": ["the film", "a dull song", {"text": "the town", "pair": "very good"}]},
    )
    assert reply.status_code == 200
    assert set(reply.json()) == {"predictions"}
    for found, expected in zip(reply.json()["predictions"], native.json()["results"], strict=True):
        assert [one["label"] for one in found] == [one["label"] for one in expected]
        assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-5)
    assert "infer;dur=" in reply.headers["server-timing"]


def test_a_reader_gives_the_answer_of_each_instance(client: TestClient) -> None:
    """The best one, or an empty one where there is none."""
    found = client.post(WHO, json={"instances": [QUESTION, {"question": "who", "context": " "}]}).json()["predictions"]
    (best,) = client.post("/v1/answer", json=QUESTION).json()["results"][0]
    assert {**found[0], "score": 0} == {**best, "score": 0}
    assert found[0]["score"] == pytest.approx(best["score"], abs=1e-5)
    assert found[1] == {"answer": "", "start": 0, "end": 0, "score": 0.0}


@pytest.mark.parametrize("verb", ["predict", "explain"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_predictions_are_asked_for_by_post_alone(client: TestClient, method: str, verb: str) -> None:
    """The path is not taken for that of a model of a longer name."""
    reply = client.request(method, f"/v1/models/mood:{verb}")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert client.request("PUT", "/v1/models/mood").headers["allow"] == "GET, HEAD"


def test_a_model_is_ready_by_its_name(client: TestClient) -> None:
    """404 for one that is unknown, 503 while draining; the list of models stays the native one."""
    assert client.get("/v1/models/mood").json() == {"name": "mood", "ready": True}
    reply = client.get("/v1/models/nope")
    assert (reply.status_code, set(reply.json())) == (404, {"error"})
    assert "nope" not in reply.text
    assert [one["name"] for one in client.get("/v1/models").json()["models"]] == ["mood", "who"]
    state: Any = client.app.state  # type: ignore[attr-defined]
    state.lifecycle.draining = True
    assert client.get("/v1/models/mood").status_code == 503
    state.lifecycle.draining = False
    assert client.get("/v1/models/mood").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (MOOD, {}, 400, "instances: Field required"),
        (MOOD, {"instances": ["a"], "inputs": ["zq-secret"]}, 400, "give instances or inputs"),
        (MOOD, {"instances": ["zq-secret"], "inputs": None}, 400, "give instances or inputs"),
        (MOOD, {"instances": []}, 400, "instances: List should have at least 1 item"),
        (MOOD, {"instances": "zq-secret"}, 400, "instances: Input should be a valid list"),
        (MOOD, {"instances": [7]}, 400, "Input should be a valid string"),
        (MOOD, {"instances": [None]}, 400, "Input should be a valid string"),
        (MOOD, {"instances": [{}]}, 400, "give text, or text and text_pair, or question and context"),
        (MOOD, {"instances": [{"text_pair": "zq-secret"}]}, 400, "give text"),
        (MOOD, {"instances": [{"text": "a", "question": "zq-secret"}]}, 400, "give text"),
        (MOOD, {"instances": [{**QUESTION, "text": "a"}]}, 400, "give text"),
        (MOOD, {"instances": [{"text": "a", "zq-secret": 1}]}, 400, "(unknown field)"),
        (WHO, {"instances": [QUESTION, "zq-secret"]}, 400, "all texts, or all questions"),
        (WHO, {"instances": ["zq-secret"]}, 400, "not for classification"),
        (MOOD, {"instances": [QUESTION]}, 400, "not for qa"),
        (MOOD, {"instances": ["a"] * 9}, 413, "at most 8"),
        (MOOD, {"instances": ["a" * 6_000]}, 413, "too long"),
        ("/v1/models/zq-secret:predict", {"instances": ["a"]}, 404, "no model of that name"),
        ("/v1/models/mood:explain", {"instances": ["zq-secret"]}, 404, "no model has an explainer"),
        ("/v1/models/zq-secret:explain", {"instances": ["a"]}, 404, "no model of that name"),
    ],
)
def test_a_refusal_says_why_in_the_protocol_s_shape(
    client: TestClient, path: str, body: object, status: int, words: str
) -> None:
    """And repeats nothing."""
    reply = client.post(path, json=body)
    assert (reply.status_code, set(reply.json())) == (status, {"error"})
    assert words in reply.json()["error"]
    assert "secret" not in reply.text


@pytest.mark.parametrize("body", [{"inputs": "the film"}, {"inputs": ["the film", "a song"]}, {"inputs": QUESTION}, {}])
def test_sagemaker_gets_what_hugging_face_gets(client: TestClient, body: object) -> None:
    """The same statuses and bodies; its health is at /ping."""
    reply, other = client.post("/invocations", json=body), client.post("/", json=body)
    assert (reply.status_code, reply.json()) == (other.status_code, other.json())
    assert (reply.status_code == 200) == bool(body)
    assert client.get("/ping").status_code == 200


def test_each_is_counted_as_what_it_is(client: TestClient) -> None:
    """Under a name of its own, with the model that answered; refusals before the body is read included."""
    client.post(MOOD, json={"instances": ["the film"]})
    client.post("/invocations", json={"inputs": "the film"})
    text = client.get("/metrics").text
    for dialect in ("kserve", "sagemaker"):
        assert f'pgb_requests_total{{dialect="{dialect}",model="mood",status="200"}} 1.0' in text


def test_both_ask_for_a_key(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Where keys are set."""
    key = make_key(tmp_path / "keys", "someone", "use")
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, keys_file=tmp_path / "keys")
    with TestClient(create_app(settings)) as client:
        for path, body in ((MOOD, {"instances": ["the film"]}), ("/invocations", {"inputs": "the film"})):
            refused = client.post(path, json=body)
            assert (refused.status_code, set(refused.json())) == (401, {"error"})
            assert client.post(path, json=body, headers={"x-api-key": key}).status_code == 200
