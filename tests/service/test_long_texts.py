"""Texts longer than the model takes, labelled from all of their windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

import pgb_core
from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.tasks.classification import Labelling
from service.app import create_app
from service.settings import Settings
from tests.core.small import WORDS

ROOM = 62  # words that the model takes: each is a token
CHANCE = np.random.default_rng(5)
LONG = [str(word) for word in CHANCE.choice(WORDS, 200)]
LONGEST = " ".join(str(word) for word in CHANCE.choice(WORDS, 5_000))  # tokenised in pieces


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """The classifier."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))) as found:
        yield found


def ask(client: TestClient, inputs: object, **more: object) -> Any:
    """The body of a 200; scores are logits."""
    reply = client.post("/v1/classify", json={"inputs": inputs, "activation": "none", **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def logits(client: TestClient, inputs: object, **more: object) -> NDArray[np.float64]:
    """[inputs, labels], by the labels' names."""
    rows = ask(client, inputs, **more)["results"]
    return np.array([[s["score"] for s in sorted(row, key=lambda s: s["label"])] for row in rows])


def windows(words: list[str], stride: int) -> list[str]:
    """The stretches that are read, as texts."""
    step = ROOM - stride
    count = 1 if len(words) <= ROOM else 1 + -(-(len(words) - ROOM) // step)
    return [" ".join(words[n * step : n * step + ROOM]) for n in range(count)]


@pytest.mark.parametrize(("stride", "count"), [(0, 4), (20, 5), (None, 6), (61, 139)])
def test_a_long_text_is_labelled_from_all_of_its_windows(client: TestClient, stride: int | None, count: int) -> None:
    """By the mean, or the largest, of the logits of each label."""
    parts = windows(LONG, 32 if stride is None else stride)
    assert len(parts) == count
    every = np.concatenate([logits(client, parts[n : n + 100], truncate=False) for n in range(0, count, 100)])
    more = {} if stride is None else {"stride": stride}
    for pool, wanted in (("mean", every.mean(0)), ("max", every.max(0))):
        body = ask(client, " ".join(LONG), long=pool, **more)
        assert body["truncated"] == 0
        found = {s["label"]: s["score"] for s in body["results"][0]}
        assert [found[label] for label in sorted(found)] == pytest.approx(wanted, abs=1e-4)


def test_a_text_that_fits_is_read_as_ever(client: TestClient) -> None:
    """Beside long ones, in one request; an empty text is refused as ever."""
    short = "the film was good"
    together = logits(client, [short, " ".join(LONG), short], long="mean")
    assert together[0] == pytest.approx(logits(client, short)[0], abs=1e-5)
    assert together[1] == pytest.approx(logits(client, " ".join(LONG), long="mean")[0], abs=1e-4)
    assert together[2] == pytest.approx(together[0], abs=1e-5)


def test_a_text_that_is_tokenised_in_pieces_has_the_tokens_of_the_whole(client: TestClient) -> None:
    """As if its words had been read at once."""
    parts = windows(LONGEST.split(), 32)
    every = np.concatenate([logits(client, parts[n : n + 100]) for n in range(0, len(parts), 100)])
    assert len(LONGEST) > 16_384
    assert logits(client, LONGEST, long="mean")[0] == pytest.approx(every.mean(0), abs=1e-4)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"inputs": {"text": "a", "pair": "b"}, "long": "mean"}, 422, "a pair"),
        ({"inputs": "a", "long": "sum"}, 422, "long"),
        ({"inputs": "a", "long": "mean", "stride": ROOM}, 422, "lower the stride"),
        ({"inputs": "a", "long": "mean", "stride": -1}, 422, "stride"),
        ({"inputs": "a", "stride": 3}, 422, "set long to mean or max"),
        ({"inputs": "a", "long": "max", "truncate": False}, 422, "leave one of them out"),
        ({"inputs": [LONGEST] * 2, "long": "max"}, 413, "more windows"),
        ({"inputs": ["a" * 199_000] * 6, "long": "max"}, 413, "too long to tokenise"),
    ],
)
def test_what_cannot_be_read_in_windows_is_refused(
    client: TestClient, body: dict[str, object], status: int, said: str
) -> None:
    """For what it is; afterwards others are answered."""
    reply = client.post("/v1/classify", json=body)
    assert reply.status_code == status
    assert said in reply.json()["error"]["message"]
    assert ask(client, "the film")


def test_a_notebook_reads_them_as_the_service_does(client: TestClient, artifacts: tuple[Path, Path]) -> None:
    """With the same windows."""
    with pgb_core.load(artifacts[0], threads=1) as loaded:
        ((first, second),) = loaded.classify([" ".join(LONG)], Labelling("none", pool="max"))
        found = {score.label: score.score for score in (first, second)}
        wanted = logits(client, " ".join(LONG), long="max")[0]
        assert [found[label] for label in sorted(found)] == pytest.approx(wanted, abs=1e-4)
        with pytest.raises(InvalidInput, match="one of mean, max"):
            loaded.classify(["a"], Labelling(pool="sum"))
        with pytest.raises(InvalidInput, match="a pair"):
            loaded.classify([("a", "b")], Labelling(pool="max"))
        with pytest.raises(InvalidInput, match="at least 8"):
            loaded.classify(["a"], Labelling(max_length=7))
        cut = loaded.classify(["the film was very good and dull"], Labelling(max_length=8))
        assert cut == loaded.classify(["the film was very good and"])


def test_windows_are_of_the_length_that_is_asked_for(artifacts: tuple[Path, Path]) -> None:
    """Windows of 10 tokens hold 8 words."""
    words = LONG[:40]
    with pgb_core.load(artifacts[0], "fp32", threads=1) as loaded:
        parts = loaded.classify([" ".join(words[n : n + 8]) for n in range(0, 40, 8)], Labelling("none"))
        (found,) = loaded.classify([" ".join(words)], Labelling("none", pool="max", max_length=10, stride=0))
    wanted = {score.label: max(s.score for part in parts for s in part if s.label == score.label) for score in found}
    assert {score.label: score.score for score in found} == pytest.approx(wanted, abs=1e-4)
