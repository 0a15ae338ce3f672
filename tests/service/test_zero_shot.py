"""Candidate labels by a model that knows entailment, against the pipeline of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from fastapi.testclient import TestClient

from pgb_core.artifact import Artifact
from pgb_core.inference.tasks.entailment import entailment
from service.app import create_app
from service.settings import Settings

TEXT = "the film was very good and the town sang"
CANDIDATES = ["a song", "dull", "not a film", "very bad"]
FORMS = [("CONTRADICTION", "neutral", "Entailment"), ("entailment", "neutral", "contradiction"), ("no", "entail")]


@pytest.fixture(scope="module", params=FORMS, ids="-".join)
def model(request: pytest.FixtureRequest, labelled: Callable[..., Artifact]) -> Artifact:
    """One that says entailment, by its labels."""
    return labelled(*request.param)


@pytest.fixture(scope="module")
def client(model: Artifact, artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """It is not the first model."""
    named = (*map(str, artifacts), f"nli={model.path}")
    with TestClient(create_app(Settings(artifacts=named, threads=1, max_items=8))) as found:
        yield found


@pytest.fixture(scope="module")
def pipeline(model: Artifact) -> Any:
    """The oracle, on the same weights."""
    return transformers.pipeline("zero-shot-classification", model=str(model.path.parent / "model"), device="cpu")


def ask(client: TestClient, inputs: object = TEXT, path: str = "/", **parameters: object) -> Any:
    """The body of a 200."""
    reply = client.post(path, json={"inputs": inputs, "parameters": {"candidate_labels": CANDIDATES, **parameters}})
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"multi_label": False},
        {"multi_label": True},
        {"hypothesis_template": "it was {}"},
        {"candidate_labels": "a song, dull ,very bad"},
        {"candidate_labels": ["dull"]},
        {"candidate_labels": ["dull", "dull"], "multi_label": True},
    ],
)
def test_scores_are_the_pipeline_s(client: TestClient, pipeline: Any, parameters: dict[str, object]) -> None:
    """With the highest first."""
    wanted = pipeline(TEXT, **{"candidate_labels": CANDIDATES, **parameters})
    found = ask(client, **parameters)
    assert [item["label"] for item in found] == wanted["labels"]
    assert [item["score"] for item in found] == pytest.approx(wanted["scores"], abs=1e-5)


def test_several_texts_are_answered_each(client: TestClient) -> None:
    """In the order asked; `top_k` keeps the first; a named model is asked by its path."""
    texts = [TEXT, "the song was dull"]
    rows = ask(client, texts, path="/models/nli")
    for text, row in zip(texts, rows, strict=True):
        alone = ask(client, text)
        assert [item["label"] for item in row] == [item["label"] for item in alone]
        assert [item["score"] for item in row] == pytest.approx([item["score"] for item in alone], abs=1e-5)
    assert [len(row) for row in ask(client, texts, top_k=1)] == [1, 1]


@pytest.mark.parametrize(
    ("inputs", "parameters", "status", "said"),
    [
        (TEXT, {"hypothesis_template": "it is so"}, 422, "{} once"),
        (TEXT, {"hypothesis_template": "{} is {}"}, 422, "{} once"),
        (TEXT, {"hypothesis_template": "{0.__class__.__mro__}"}, 422, "{} once"),
        (TEXT, {"hypothesis_template": "{:9999999999}"}, 422, "{} once"),
        (TEXT, {"candidate_labels": " , "}, 422, "no candidate label"),
        (TEXT, {"candidate_labels": []}, 422, "candidate_labels"),
        ("", {}, 422, "the text is empty"),
        (TEXT, {"candidate_labels": ["a"] * 9}, 413, "at most 8"),
        ([TEXT] * 3, {}, 413, "at most 8"),
        (TEXT, {"candidate_labels": "a," * 500}, 413, "at most 8"),
        (["a"] * 8, {"candidate_labels": ["zq-secret" * 14_000]}, 413, "too long for so many texts"),
        (TEXT, {"function_to_apply": "none"}, 422, "multi_label"),
        ({"text": TEXT, "text_pair": "a"}, {}, 422, "not for pairs"),
        ({"question": "who", "context": TEXT}, {}, 422, "not for questions"),
        (TEXT, {"multi_label": "yes"}, 422, "multi_label"),
    ],
)
def test_what_cannot_be_is_refused(
    client: TestClient, inputs: object, parameters: dict[str, object], status: int, said: str
) -> None:
    """With the reason, before any work."""
    given = {"candidate_labels": CANDIDATES, **parameters}
    reply = client.post("/", json={"inputs": inputs, "parameters": given})
    assert reply.status_code == status
    assert said in reply.json()["error"]


def test_a_model_without_entailment_is_told_by_that_fact(client: TestClient, artifacts: tuple[Path, Path]) -> None:
    """Where it is named, and where there is no other."""
    body = {"inputs": TEXT, "parameters": {"candidate_labels": CANDIDATES}}
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))) as alone:
        for reply in (client.post("/models/mood", json=body), alone.post("/", json=body)):
            assert reply.status_code == 400
            assert "no label that begins with entail" in reply.json()["error"]


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        (("contradiction", "neutral", "entailment"), 2),
        (("ENTAILED", "not_entailment"), 0),
        (("not_entailment", "neutral"), None),
        (("entailment",), None),
        ((), None),
    ],
)
def test_entailment_is_the_label_that_begins_so(labels: tuple[str, ...], place: int | None) -> None:
    """And is of no use alone."""
    assert entailment(labels) == place
