"""`huggingface_hub`: InferenceClient and AsyncInferenceClient."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from tests.conformance.conftest import TOO_MUCH, Guarded
from tests.served import serving

TEXT = "the film was good"
QUESTION = {
    "question": "who sang",
    "context": "the town sang a song and the film was very good where it began",
}
Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """ask(url, method, …): what that method of a client of that address returns."""

    def sync(url: str, method: str, *args: object, token: str | None = None, **more: object) -> object:
        with InferenceClient(url, provider="hf-inference", token=token) as client:
            return getattr(client, method)(*args, **more)

    async def awaited(url: str, method: str, *args: object, token: str | None = None, **more: object) -> object:
        async with AsyncInferenceClient(url, provider="hf-inference", token=token) as client:
            return await getattr(client, method)(*args, **more)

    return sync if request.param == "sync" else lambda *args, **more: asyncio.run(awaited(*args, **more))


def scores(found: list[Any]) -> dict[str, float]:
    """By label."""
    return {item.label: item.score for item in found}


def test_text_classification_gives_every_label_the_best_first(ask: Ask, url: str) -> None:
    """The same at / and at the model's own address, and what the native dialect says."""
    found = ask(url, "text_classification", TEXT)
    native = httpx.post(f"{url}/v1/classify", json={"inputs": TEXT}).json()["results"][0]
    assert [(item.label, item.score) for item in found] == [(item["label"], item["score"]) for item in native]
    assert len(found) == 2
    assert found[0].score > found[1].score
    assert ask(f"{url}/models/mood", "text_classification", TEXT) == found


def test_text_classification_heeds_its_parameters(ask: Ask, url: str) -> None:
    """`function_to_apply` turns logits into scores as it says; `top_k` keeps the first."""
    logits = scores(ask(url, "text_classification", TEXT, function_to_apply="none"))
    values = np.array(list(logits.values()))
    for name, expected in (
        ("softmax", np.exp(values) / np.exp(values).sum()),
        ("sigmoid", 1 / (1 + np.exp(-values))),
    ):
        found = scores(ask(url, "text_classification", TEXT, function_to_apply=name))
        assert list(found) == list(logits)
        assert list(found.values()) == pytest.approx(expected)
    everything = ask(url, "text_classification", TEXT)
    assert ask(url, "text_classification", TEXT, top_k=1) == everything[:1]
    assert ask(url, "text_classification", TEXT, top_k=2) == everything


def test_question_answering_gives_spans_of_the_context(ask: Ask, url: str) -> None:
    """One answer as an object, several as a list; offsets are the context's."""
    best = ask(url, "question_answering", **QUESTION)
    several = ask(f"{url}/models/who", "question_answering", **QUESTION, top_k=3)
    assert several[0] == best
    assert len(several) == 3
    assert [item.score for item in several] == sorted((item.score for item in several), reverse=True)
    for item in several:
        assert item.answer == QUESTION["context"][item.start : item.end]


def test_question_answering_heeds_its_parameters(ask: Ask, url: str) -> None:
    """Every parameter of the client's method arrives."""

    def answer(**parameters: object) -> Any:
        return ask(url, "question_answering", **QUESTION, **parameters)

    best = answer()
    assert len(best.answer.split()) > 1
    assert len(answer(max_answer_len=1).answer.split()) == 1
    assert answer(max_seq_len=12, doc_stride=2) != best
    assert answer(max_seq_len=12, doc_stride=2) != answer(max_seq_len=12, doc_stride=4)
    assert answer(max_question_len=1, align_to_words=True, handle_impossible_answer=False) == best
    again = {"question": "who sang", "context": "song song song song"}
    together = ask(url, "question_answering", **again, align_to_words=True, max_answer_len=1)
    single = ask(url, "question_answering", **again, align_to_words=False, max_answer_len=1)
    assert together.score > single.score  # equal answers are summed over more candidates
    possible = ask(url, "question_answering", **again, top_k=100)
    impossible = ask(url, "question_answering", **again, top_k=100, handle_impossible_answer=True)
    assert [(item.start, item.end) for item in impossible if not item.answer] == [(0, 0)]
    assert [item for item in impossible if item.answer] == possible


def test_zero_shot_classification_gives_every_candidate_the_best_first(ask: Ask, several: str) -> None:
    """By the first model that knows entailment, or the one of the address; every parameter of the method arrives."""
    candidates = ["a song", "dull", "a film"]
    found = ask(several, "zero_shot_classification", TEXT, candidates)
    assert {item.label for item in found} == set(candidates)
    assert sum(item.score for item in found) == pytest.approx(1)
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    named = ask(f"{several}/models/nli", "zero_shot_classification", TEXT, candidates)
    assert scores(named) == pytest.approx(scores(found), abs=1e-5)
    other = ask(several, "zero_shot_classification", TEXT, candidates, hypothesis_template="it was {}")
    assert scores(other) != pytest.approx(scores(found), abs=1e-4)
    each = ask(several, "zero_shot_classification", TEXT, candidates, multi_label=True)
    assert sum(item.score for item in each) != pytest.approx(1, abs=1e-3)
    with pytest.raises(BadRequestError, match="entail"):
        ask(f"{several}/models/mood", "zero_shot_classification", TEXT, candidates)


def test_many_requests_at_once_get_their_own_answers(url: str) -> None:
    """One asynchronous client, requests in flight together."""
    texts = [f"{TEXT} {'very ' * n}".strip() for n in range(16)]

    async def scenario() -> list[Any]:
        async with AsyncInferenceClient(url) as client:
            return await asyncio.gather(*(client.text_classification(text) for text in texts))

    together = asyncio.run(scenario())
    with InferenceClient(url) as client:
        alone = [client.text_classification(text) for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert scores(one) == pytest.approx(scores(other), abs=1e-5)
    assert len({item[0].score for item in alone}) == len(texts)


@pytest.mark.parametrize(
    ("path", "method", "given", "status", "words"),
    [
        ("/models/nope", "text_classification", {"text": TEXT}, 404, "no model of that name"),
        ("/models/nope", "question_answering", QUESTION, 404, "no model of that name"),
        ("/models/who", "text_classification", {"text": TEXT}, 400, "not for classification"),
        ("", "text_classification", {"text": TEXT, "top_k": 0}, 422, "top_k"),
        ("", "text_classification", {"text": TEXT, "function_to_apply": "tanh"}, 422, "function_to_apply"),
        ("", "question_answering", {**QUESTION, "context": ""}, 422, "empty"),
        ("", "question_answering", {**QUESTION, "max_seq_len": 12, "doc_stride": 30}, 422, "stride"),
    ],
)
def test_a_refusal_is_an_error_that_says_why(
    ask: Ask, url: str, path: str, method: str, given: dict[str, object], status: int, words: str
) -> None:
    """The client reads `error`, and finds the request's id."""
    with pytest.raises(HfHubHTTPError) as caught:
        ask(url + path, method, **given)
    error = caught.value
    assert error.response.status_code == status
    assert isinstance(error, BadRequestError) == (status == 400)
    reason = error.response.json()["error"]
    assert words in reason
    assert error.server_message == reason
    assert error.request_id == error.response.headers["x-request-id"]


def test_a_token_is_sent_as_a_key(ask: Ask, guarded: Guarded) -> None:
    """Without one 401, with one the answer."""
    with pytest.raises(HfHubHTTPError) as caught:
        ask(guarded.url, "text_classification", TEXT)
    assert caught.value.response.status_code == 401
    assert ask(guarded.url, "text_classification", TEXT, token=guarded.user)[0].score > 0


def test_overload_is_429_with_the_time_to_come_back(ask: Ask, guarded: Guarded) -> None:
    """Retry-After in whole seconds, and the reason."""
    with pytest.raises(HfHubHTTPError) as caught:
        ask(guarded.url, "text_classification", TOO_MUCH, token=guarded.user)
    assert caught.value.response.status_code == 429
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert "waiting" in str(caught.value.server_message)


def test_health_and_information(ask: Ask, url: str) -> None:
    """`health_check` and `get_endpoint_info` below the service's address and a model's."""
    assert ask(url, "health_check") is True
    assert ask(f"{url}/models/who", "health_check") is True
    assert ask(f"{url}/models/nope", "health_check") is False
    assert ask(url, "get_endpoint_info")["model_id"] == "mood"
    assert ask(f"{url}/models/who", "get_endpoint_info")["model_id"] == "who"
    with pytest.raises(HfHubHTTPError, match="no model of that name"):
        ask(f"{url}/models/nope", "get_endpoint_info")


def test_a_draining_server_is_not_healthy_and_still_answers(artifacts: tuple[Path, Path]) -> None:
    """Every client's way to ask about health says no from the signal on; what is sent in the grace is answered."""
    import tritonclient.http as triton

    with serving(artifacts[0], "--drain-seconds", "60", "--threads", "1") as (url, process):
        v2 = triton.InferenceServerClient(url.removeprefix("http://"))
        client = InferenceClient(url, provider="hf-inference")
        below = f"{url}/models/mood"
        assert client.health_check()
        assert client.health_check(below)
        assert v2.is_server_ready()
        assert v2.is_model_ready("mood")
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/ping").status_code == 200:
            assert process.poll() is None
        assert not client.health_check()
        assert not client.health_check(below)
        assert not v2.is_server_ready()
        assert not v2.is_model_ready("mood")
        assert v2.is_server_live()
        assert httpx.get(f"{url}/ping").json()["error_type"] == "Unhealthy"
        assert client.text_classification(TEXT)[0].score > 0
        v2.close()
        client.close()
        process.kill()
