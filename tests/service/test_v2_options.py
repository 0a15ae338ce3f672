"""Parameters of a v2 request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["the film"]}


@pytest.mark.parametrize("parameters", [{"activation": "none of them"}, {"binary_data_output": "false"}])
def test_a_request_with_a_wrong_parameter_counts_as_failed(client: TestClient, parameters: dict[str, Any]) -> None:
    """In the statistics of the model."""

    def failed() -> int:
        (stats,) = client.get("/v2/models/mood/stats").json()["model_stats"]
        return int(stats["inference_stats"]["fail"]["count"])

    before = failed()
    reply = client.post("/v2/models/mood/infer", json={"inputs": [TENSOR], "parameters": parameters})
    assert (reply.status_code, set(reply.json())) == (400, {"error"})
    assert failed() == before + 1


@pytest.mark.parametrize(
    ("path", "name", "values", "status"),
    [
        ("/v2/models/mood/infer", "inference-header-content-length", ("{}", "1"), 400),
        ("/v2/models/mood/infer", "inference-header-content-length", ("{}", "{}"), 200),
        ("/v1/classify", "content-type", ("application/json", "text/plain"), 400),
        ("/v1/classify", "content-type", ("application/json", "application/json"), 200),
    ],
)
def test_a_header_with_two_values_is_refused(
    client: TestClient, path: str, name: str, values: tuple[str, str], status: int
) -> None:
    """Each would be another request. The same value twice says one thing."""
    body = json.dumps({"inputs": "the film"} if path == "/v1/classify" else {"inputs": [TENSOR]})
    headers = [(name, value.format(len(body))) for value in values]
    assert client.post(path, content=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("place", "parameters", "said"),
    [
        ("outputs", {"shared_memory_region": "mine", "shared_memory_byte_size": 8}, "outputs are in the answer"),
        ("inputs", {"shared_memory_offset": 8}, "send the data"),
        ("inputs", {"content_type": "base64"}, "texts are read as they are sent"),
        ("request", {"handle_impossible": True}, "parameter handle_impossible has no effect"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    client: TestClient, place: str, parameters: dict[str, Any], said: str
) -> None:
    """A region that nobody writes, texts in a code, an option of another task. Unknown parameters are passed over."""

    def asked(place: str, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "inputs": [{**TENSOR, "parameters": given if place == "inputs" else None}],
            "outputs": [{"name": "label", "parameters": given if place == "outputs" else None}],
            "parameters": given if place == "request" else None,
        }

    reply = client.post("/v2/models/mood/infer", json=asked(place, parameters))
    assert (reply.status_code, said in reply.json()["error"]) == (400, True)
    kept = {"content_type": "str", "priority": 1}
    assert client.post("/v2/models/mood/infer", json=asked(place, kept)).status_code == 200
