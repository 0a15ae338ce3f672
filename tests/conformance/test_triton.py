"""`tritonclient.http`, its synchronous and its asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.testing import assert_allclose
from tritonclient.utils import InferenceServerException

from tests.conformance.conftest import TOO_MUCH, Guarded

TEXTS = ["the film was good", "dull", "wo war der Fluß? 東京 🎈", "the town sang a song"]
CONTEXT = "the town sang a song and the film was very good where it began"
# More than what is sent uncompressed.
MANY = ["the film was very good"] * 128
Call = Callable[..., Any]


@pytest.fixture(params=["sync", "aio"])
def call(request: pytest.FixtureRequest) -> Call:
    """call(url, method, …): what that method of a client of that address returns."""

    def sync(url: str, method: str, *args: object, **more: object) -> object:
        with triton.InferenceServerClient(url.removeprefix("http://")) as client:
            return getattr(client, method)(*args, **more)

    async def awaited(url: str, method: str, *args: object, **more: object) -> object:
        async with triton_aio.InferenceServerClient(url.removeprefix("http://")) as client:
            return await getattr(client, method)(*args, **more)

    return sync if request.param == "sync" else lambda *args, **more: asyncio.run(awaited(*args, **more))


def column(name: str, texts: list[str] | list[bytes], *, binary: bool = True, flat: bool = False) -> triton.InferInput:
    """A tensor of texts, [n, 1] or [n]."""
    array = np.array([t.encode() if isinstance(t, str) else t for t in texts], object)
    array = array if flat else array[:, None]
    given = triton.InferInput(name, list(array.shape), "BYTES")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def wanted(*names: str, binary: bool = True, labels: int = 0) -> list[triton.InferRequestedOutput]:
    """Outputs asked for by name."""
    return [triton.InferRequestedOutput(name, binary_data=binary, class_count=labels) for name in names]


def raises(status: int, words: str) -> Any:
    """The client's own exception, with its message and status."""

    def fits(error: InferenceServerException) -> bool:
        message = error.message()
        return error.status() == str(status) and isinstance(message, str) and words in message

    return pytest.raises(InferenceServerException, check=fits)


def bearer(key: str) -> dict[str, str]:
    """Headers; fresh ones, for the client adds to what it is given."""
    return {"Authorization": f"Bearer {key}"}


def test_the_server_and_its_models_are_ready(call: Call, url: str) -> None:
    """Live, ready, and each model by name and by version; an unknown one is not."""
    assert call(url, "is_server_live")
    assert call(url, "is_server_ready")
    (version,) = call(url, "get_model_metadata", "mood")["versions"]
    assert 0 <= int(version) < 1 << 63  # as Triton's own clients read it
    assert call(url, "is_model_ready", "mood")
    assert call(url, "is_model_ready", "mood", version)
    assert not call(url, "is_model_ready", "nope")
    assert not call(url, "is_model_ready", "mood", "7")


def test_the_server_tells_what_it_speaks(call: Call, url: str) -> None:
    """Name, version and the extensions that these tests use."""
    found = call(url, "get_server_metadata")
    assert found["name"] == "pgb-serve"
    assert found["version"]
    assert set(found["extensions"]) == {
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "statistics",
    }


@pytest.mark.parametrize("name", ["mood", "who"])
def test_metadata_and_configuration_are_what_inference_does(call: Call, url: str, name: str) -> None:
    """The inputs they name are taken; the outputs have the names, types and widths they say."""
    metadata, config = call(url, "get_model_metadata", name), call(url, "get_model_config", name)
    needed = [i["name"] for i in config["input"] if not i.get("optional")]
    assert [i["name"] for i in metadata["inputs"]] == [i["name"] for i in config["input"]]
    assert {i["datatype"] for i in metadata["inputs"]} == {"BYTES"}
    assert {i["data_type"] for i in config["input"]} == {"TYPE_STRING"}
    result = call(url, "infer", name, [column(i, [CONTEXT, CONTEXT]) for i in needed])
    outputs = result.get_response()["outputs"]
    assert [(o["name"], o["datatype"], [-1, *o["shape"][1:]]) for o in outputs] == [
        (o["name"], o["datatype"], o["shape"]) for o in metadata["outputs"]
    ]
    kinds = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32"}
    assert [(o["name"], kinds[o["datatype"]], o["shape"][1:]) for o in outputs] == [
        (o["name"], o["data_type"], o["dims"]) for o in config["output"]
    ]
    assert metadata["name"] == config["name"] == name
    assert "dynamic_batching" in config
    largest, over = (
        [column(i, [CONTEXT] * n, flat=True) for i in needed]
        for n in (config["max_batch_size"], 1 + config["max_batch_size"])
    )
    assert call(url, "infer", name, largest).as_numpy("score").shape == (config["max_batch_size"], 1)
    with raises(400, "at most"):
        call(url, "infer", name, over)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_texts_are_labelled_as_json_and_as_binary_tensors(
    call: Call, url: str, binary_in: bool, binary_out: bool | None
) -> None:
    """Any mixture of the two gives the same, and what the native dialect gives."""
    native = httpx.post(f"{url}/v1/classify", json={"inputs": TEXTS}).json()["results"]
    labels = [scores[0]["label"] for scores in native]
    outputs = None if binary_out is None else wanted("scores", "label", "score", binary=binary_out)
    result = call(url, "infer", "mood", [column("text", TEXTS, binary=binary_in)], outputs=outputs)
    found = result.as_numpy("label")
    assert [str(x, "utf-8") if isinstance(x, bytes) else x for x in found.ravel()] == labels
    assert result.as_numpy("score").dtype == result.as_numpy("scores").dtype == np.float32
    assert_allclose(result.as_numpy("score").ravel(), [scores[0]["score"] for scores in native], atol=1e-5)
    by_label = [[{s["label"]: s["score"] for s in scores}[f"LABEL_{n}"] for n in (0, 1)] for scores in native]
    assert_allclose(result.as_numpy("scores"), by_label, atol=1e-5)
    given = [output["name"] for output in result.get_response()["outputs"]]
    assert given == (["label", "score", "scores"] if outputs is None else ["scores", "label", "score"])
    for output in result.get_response()["outputs"]:
        assert ("data" in output) == (binary_out is False)


def test_texts_may_be_paired(call: Call, url: str) -> None:
    """The optional input; the same scores as TEI's pairs, in another dialect."""
    pair = ["the film was good", "not very dull"]
    result = call(url, "infer", "mood", [column("text", pair[:1]), column("text_pair", pair[1:], binary=False)])
    other = httpx.post(f"{url}/predict", json={"inputs": pair}).json()
    assert result.as_numpy("score")[0, 0] == pytest.approx(other[0]["score"], abs=1e-5)
    assert result.as_numpy("label")[0, 0].decode() == other[0]["label"]


@pytest.mark.parametrize("binary", [True, False])
def test_questions_are_answered(call: Call, url: str, binary: bool) -> None:
    """Offsets are of the context's characters, also behind longer ones; a mixture of binary and JSON inputs."""
    contexts = [CONTEXT, f"東京 🎈 {CONTEXT}"]
    inputs = [column("question", ["who sang", "who sang"], binary=binary), column("context", contexts)]
    result = call(url, "infer", "who", inputs, outputs=wanted("answer", "start", "end", "score", binary=binary))
    assert result.as_numpy("start").dtype == result.as_numpy("end").dtype == np.int32
    for row, context in enumerate(contexts):
        start, end = int(result.as_numpy("start")[row, 0]), int(result.as_numpy("end")[row, 0])
        answer = result.as_numpy("answer")[row, 0]
        text = answer.decode() if isinstance(answer, bytes) else answer
        assert text == context[start:end] != ""
        native = httpx.post(f"{url}/v1/answer", json={"question": "who sang", "context": context}).json()
        best = native["results"][0][0]
        assert (text, start, end) == (best["answer"], best["start"], best["end"])
        assert result.as_numpy("score")[row, 0] == pytest.approx(best["score"], abs=1e-5)


def test_the_best_labels_can_be_asked_for(call: Call, url: str) -> None:
    """The classification extension: score, number and label of the first `class_count`, highest first."""
    plain = call(url, "infer", "mood", [column("text", TEXTS)]).as_numpy("scores")
    for count in (1, 2, 5):
        found = call(url, "infer", "mood", [column("text", TEXTS)], outputs=wanted("scores", labels=count))
        rows = found.as_numpy("scores")
        assert rows.shape == (len(TEXTS), min(count, 2))
        for row, scores in zip(rows, plain, strict=True):
            order = np.argsort(-scores)[:count]
            for item, n in zip(row, order, strict=True):
                score, number, label = item.decode().split(":")
                assert (int(number), label) == (n, f"LABEL_{n}")
                assert float(score) == pytest.approx(scores[n], abs=1e-5)
    question = [column("question", ["who sang"]), column("context", [CONTEXT])]
    for model, inputs, output in (("mood", [column("text", TEXTS)], "label"), ("who", question, "score")):
        with raises(400, "classification"):
            call(url, "infer", model, inputs, outputs=wanted(output, labels=1))


def test_request_ids_versions_and_parameters(call: Call, url: str) -> None:
    """The id comes back, an unnamed request has none; `activation` is the service's own parameter."""
    inputs = [column("text", TEXTS)]
    version = call(url, "get_model_metadata", "mood")["versions"][0]
    body = call(url, "infer", "mood", inputs, version, request_id="nr. 7").get_response()
    assert (body["model_name"], body["model_version"], body["id"]) == ("mood", version, "nr. 7")
    assert "id" not in call(url, "infer", "mood", inputs).get_response()
    logits = call(url, "infer", "mood", inputs, parameters={"activation": "none"}).as_numpy("scores")
    powers = np.exp(logits)
    found = call(url, "infer", "mood", inputs, priority=1, sequence_id=3, sequence_start=True).as_numpy("scores")
    assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(call: Call, url: str, name: str) -> None:
    """What the client compresses is read, what it asks to be compressed is, and both decode to the same."""
    plain = call(url, "infer", "mood", [column("text", MANY)]).as_numpy("scores")
    for binary in (True, False):
        found = call(
            url,
            "infer",
            "mood",
            [column("text", MANY, binary=binary)],
            outputs=wanted("scores", "label", binary=binary),
            request_compression_algorithm=name,
            response_compression_algorithm=name,
        )
        assert_allclose(found.as_numpy("scores"), plain, atol=1e-5)
    body = {"inputs": [{"name": "text", "shape": [128, 1], "datatype": "BYTES", "data": MANY}]}
    reply = httpx.post(f"{url}/v2/models/mood/infer", json=body, headers={"accept-encoding": name})
    assert reply.headers["content-encoding"] == name
    with raises(400, "compressed"):
        call(url, "infer", "mood", [column("text", MANY)], headers={"Content-Encoding": name})


def test_the_timeout_is_in_microseconds(call: Call, url: str) -> None:
    """One that cannot be met is 504; a long one changes nothing."""
    with raises(504, "deadline"):
        call(url, "infer", "mood", [column("text", TEXTS)], timeout=1)
    assert call(url, "infer", "mood", [column("text", TEXTS)], timeout=60_000_000).as_numpy("score").shape == (4, 1)


@pytest.mark.parametrize(
    ("model", "version", "inputs", "outputs", "status", "words"),
    [
        ("nope", "", [column("text", TEXTS)], None, 404, "no model of that name"),
        ("mood", "7", [column("text", TEXTS)], None, 404, "version"),
        ("mood", "", [column("words", TEXTS)], None, 400, "text is missing"),
        ("mood", "", [column("text", TEXTS), column("words", TEXTS)], None, 400, "unknown"),
        ("mood", "", [column("text", TEXTS), column("text", TEXTS)], None, 400, "same name"),
        ("mood", "", [column("text", TEXTS), column("text_pair", TEXTS[:1])], None, 400, "different numbers"),
        ("mood", "", [column("text", [b"\xff\xfe"])], None, 400, "UTF-8"),
        ("mood", "", [column("text", TEXTS)], wanted("logits"), 400, "output is unknown"),
        ("who", "", [column("question", TEXTS)], None, 400, "context is missing"),
        ("who", "", [column("question", ["who"]), column("context", [""])], None, 400, "empty"),
    ],
)
def test_errors_are_the_client_s_exception(
    call: Call, url: str, model: str, version: str, inputs: Any, outputs: Any, status: int, words: str
) -> None:
    """With the reason as its message."""
    with raises(status, words):
        call(url, "infer", model, inputs, version, outputs)


def test_numbers_and_shapes_that_do_not_fit_are_refused(call: Call, url: str) -> None:
    """Texts only, one a row."""
    numbers = triton.InferInput("text", [1, 1], "FP32")
    numbers.set_data_from_numpy(np.zeros((1, 1), np.float32))
    with raises(400, "BYTES"):
        call(url, "infer", "mood", [numbers])
    wide = triton.InferInput("text", [1, 2], "BYTES")
    wide.set_data_from_numpy(np.array([[b"the", b"film"]], object))
    with raises(400, "shape"):
        call(url, "infer", "mood", [wide])
    long = column("text", TEXTS)
    long.set_shape([5, 1])
    with raises(400, "different numbers of elements"):
        call(url, "infer", "mood", [long])


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("get_trace_settings", ()),
        ("get_log_settings", ()),
        ("get_system_shared_memory_status", ()),
        ("get_model_config", ("nope",)),
        ("get_model_metadata", ("nope",)),
        ("get_inference_statistics", ("nope",)),
    ],
)
def test_what_is_not_served_is_404(call: Call, url: str, method: str, given: tuple[str, ...]) -> None:
    """An exception with a message, for the extensions that are not announced too."""
    with raises(404, "no "):
        call(url, method, *given)


def test_statistics_count_requests_inputs_and_refusals(call: Call, url: str) -> None:
    """Successes, failures and times grow by what was asked between two looks."""

    def look() -> dict[str, Any]:
        (found,) = call(url, "get_inference_statistics", "mood")["model_stats"]
        return dict(found)

    call(url, "infer", "mood", [column("text", TEXTS)])
    before = look()
    for _ in range(3):
        call(url, "infer", "mood", [column("text", TEXTS)])
    with raises(504, "deadline"):
        call(url, "infer", "mood", [column("text", TEXTS)], timeout=1)
    after = look()
    parts = {
        name: after["inference_stats"][name]["count"] - s["count"] for name, s in before["inference_stats"].items()
    }
    assert (parts["success"], parts["fail"]) == (3, 1)
    assert parts["queue"] == parts["compute_input"] == parts["compute_infer"] == parts["compute_output"]
    assert after["inference_count"] - before["inference_count"] == 3 * len(TEXTS)
    assert 3 <= after["execution_count"] - before["execution_count"] <= 3 * len(TEXTS)
    assert after["last_inference"] >= before["last_inference"] > 1_600_000_000_000
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][name]["ns"] > before["inference_stats"][name]["ns"]
    assert sum(b["compute_infer"]["count"] for b in after["batch_stats"]) == after["execution_count"]
    names = [s["name"] for s in call(url, "get_inference_statistics")["model_stats"]]
    assert names == ["mood", "who"]


def test_long_statistics_can_be_read(call: Call, url: str) -> None:
    """A client that says it takes gzip undoes it for inference alone."""
    for size in range(1, 40):
        call(url, "infer", "mood", [column("text", ["the film"] * size)])
    (found,) = call(url, "get_inference_statistics", "mood")["model_stats"]
    assert len(found["batch_stats"]) > 10
    assert len(str(found)) > 4096


def test_models_are_listed_unloaded_and_loaded(call: Call, guarded: Guarded) -> None:
    """An unloaded model is not ready and unknown; loaded again, it answers."""
    key = guarded.admin

    def states() -> dict[str, str]:
        found = call(guarded.url, "get_model_repository_index", headers=bearer(key))
        return {m["name"]: m["state"] for m in found if m["version"] == "1"}

    def infer() -> Any:
        return call(guarded.url, "infer", "mood", [column("text", TEXTS)], headers=bearer(key)).as_numpy("label")

    before = infer()
    assert states() == {"mood": "READY", "who": "READY"}
    call(guarded.url, "unload_model", "mood", headers=bearer(key))
    try:
        assert states()["mood"] in ("UNLOADING", "UNAVAILABLE")
        assert not call(guarded.url, "is_model_ready", "mood", headers=bearer(key))
        assert call(guarded.url, "is_model_ready", "who", headers=bearer(key))
        with raises(404, "Request for unknown model"):
            infer()
    finally:
        call(guarded.url, "load_model", "mood", headers=bearer(key))
    assert states() == {"mood": "READY", "who": "READY"}
    assert (infer() == before).all()


def test_a_load_that_cannot_be_is_refused(call: Call, guarded: Guarded) -> None:
    """A name that the folder does not hold, and a configuration in place of the folder's."""
    with raises(404, "no model of that name"):
        call(guarded.url, "load_model", "nope", headers=bearer(guarded.admin))
    with raises(404, "failed to load"):
        call(guarded.url, "load_model", "nope", headers=bearer(guarded.admin))
    call(guarded.url, "unload_model", "nope", headers=bearer(guarded.admin))
    with raises(400, "failed to load: a model is loaded as its folder has it; send no parameters"):
        call(guarded.url, "load_model", "mood", headers=bearer(guarded.admin), config='{"max_batch_size": 1}')


def test_keys_guard_models_and_their_administration(call: Call, guarded: Guarded, url: str) -> None:
    """401 without a key, 403 with one that may only use, 403 for everyone where no keys are set."""
    with raises(401, "key"):
        call(guarded.url, "infer", "mood", [column("text", TEXTS)])
    assert call(guarded.url, "infer", "mood", [column("text", TEXTS)], headers=bearer(guarded.user))
    with raises(403, "administer"):
        call(guarded.url, "unload_model", "mood", headers=bearer(guarded.user))
    with raises(403, "keys"):
        call(url, "unload_model", "mood")


def test_overload_is_429(call: Call, guarded: Guarded) -> None:
    """With the reason."""
    with raises(429, "waiting"):
        call(guarded.url, "infer", "mood", [column("text", [TOO_MUCH])], headers=bearer(guarded.user))


def test_requests_in_flight_together_get_their_own_answers(url: str) -> None:
    """`async_infer` of the synchronous client, over several connections."""
    texts = [f"the film was {'very ' * n}good" for n in range(12)]
    with triton.InferenceServerClient(url.removeprefix("http://"), concurrency=4) as client:
        alone = [client.infer("mood", [column("text", [text])]).as_numpy("score")[0, 0] for text in texts]
        waiting = [
            client.async_infer("mood", [column("text", [text])], request_id=f"{n}") for n, text in enumerate(texts)
        ]
        for n, pending in enumerate(waiting):
            result = pending.get_result()
            assert result.get_response()["id"] == f"{n}"
            assert result.as_numpy("score")[0, 0] == pytest.approx(alone[n], abs=1e-5)
    assert len(set(alone)) == len(texts)


def test_bodies_made_and_read_apart_from_the_client(url: str) -> None:
    """`generate_request_body` and `parse_response_body`, with another's HTTP between them."""
    client = triton.InferenceServerClient
    body, size = client.generate_request_body([column("text", TEXTS)], outputs=wanted("scores", "label"))
    headers = {"Inference-Header-Content-Length": str(size), "Content-Type": "application/octet-stream"}
    reply = httpx.post(f"{url}/v2/models/mood/infer", content=body, headers=headers)
    result = client.parse_response_body(
        reply.content, header_length=int(reply.headers["Inference-Header-Content-Length"])
    )
    assert result.as_numpy("label").shape == (4, 1)
    assert_allclose(result.as_numpy("scores").sum(1), 1, atol=1e-5)
