"""Parameters of a v2 request."""

from __future__ import annotations

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
