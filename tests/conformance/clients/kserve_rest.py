"""KServe's InferenceRESTClient, in both protocols. Arguments: address, name of a classifier, name of a QA model."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

TEXTS = ["the film was good", "dull"]
QUESTION = {"question": "who sang", "context": "the town sang a song"}


async def first(url: str, classifier: str, reader: str) -> dict[str, Any]:
    """By protocol v1. What is refused gives the status and the words that the client found."""
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_model_ready(url, classifier),
            "labels": await client.infer(url, {"instances": TEXTS}, model_name=classifier),
            "answers": await client.infer(url, {"inputs": [QUESTION]}, model_name=reader),
        }
        for name, asked in {
            "explained": client.explain(url, classifier, {"instances": TEXTS}),
            "unknown": client.is_model_ready(url, "nope"),
        }.items():
            try:
                found[name] = await asked
            except httpx.HTTPStatusError as error:
                found[name] = [error.response.status_code, str(error)]
    return found


async def second(url: str, classifier: str) -> dict[str, Any]:
    """By protocol v2, texts as JSON, as binary data, and binary data back."""
    array = np.array([[text] for text in TEXTS], object)
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "known": await client.is_model_ready(url, classifier),
            "unknown": await client.is_model_ready(url, "nope"),
        }
        for name, binary, parameters in (
            ("json", False, {}),
            ("sent", True, {}),
            ("both", True, {"binary_data_output": True}),
        ):
            given = InferInput("text", list(array.shape), "BYTES", parameters={"of": "a test"})
            given.set_data_from_numpy(array, binary_data=binary)
            asked = InferRequest(classifier, [given], request_id="a-1", parameters=parameters)
            reply = await client.infer(url, asked, model_name=classifier)
            outputs = {output.name: output for output in reply.outputs}
            labels = [one.decode() if isinstance(one, bytes) else one for one in outputs["label"].as_numpy().flatten()]
            found[name] = {"id": reply.id, "labels": labels, "scores": outputs["scores"].as_numpy().tolist()}
    return found


if __name__ == "__main__":
    _, address, classes, answers = sys.argv
    both = {"v1": asyncio.run(first(address, classes, answers)), "v2": asyncio.run(second(address, classes))}
    print(json.dumps(both))
