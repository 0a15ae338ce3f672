"""MLServer's types: they make the requests, and read every answer. Arguments: address, name of a model."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import ModuleType

import httpx

# The types alone: the package's own beginning starts a server, with all that it needs.
_package = ModuleType("mlserver")
_package.__path__ = list(find_spec("mlserver").submodule_search_locations)
sys.modules["mlserver"] = _package

from mlserver import types  # noqa: E402

TEXTS = ["the film was good", "dull"]


def asked(url: str, model: str) -> dict[str, object]:
    """What the types read. Raises pydantic's ValidationError where an answer does not fit."""
    data = types.TensorData(root=TEXTS)
    given = types.RequestInput(name="text", shape=[2, 1], datatype=types.Datatype.BYTES, data=data)
    request = types.InferenceRequest(id="a-1", inputs=[given])
    index = types.RepositoryIndexRequest(ready=True)
    with httpx.Client(base_url=f"{url}/v2", timeout=60) as client:
        server = types.MetadataServerResponse.model_validate(client.get("").json())
        metadata = types.MetadataModelResponse.model_validate(client.get(f"/models/{model}").json())
        # With every field that the type has, null where nothing was said; and without those.
        found = [
            types.InferenceResponse.model_validate(client.post(f"/models/{model}/infer", json=body).json())
            for body in (request.model_dump(mode="json"), request.model_dump(mode="json", exclude_none=True))
        ]
        refused = client.post(f"/models/{model}/infer", json={"inputs": []})
        error = types.InferenceErrorResponse.model_validate(refused.json())
        reply = client.post("/repository/index", json=index.model_dump())
        listed = types.RepositoryIndexResponse.model_validate(reply.json())
    return {
        "name": server.name,
        "inputs": [tensor.name for tensor in metadata.inputs],
        "answers": [[one.id, {output.name: output.data.root for output in one.outputs}] for one in found],
        "refused": [refused.status_code, error.error],
        "states": {item.name: str(item.state) for item in listed},
    }


if __name__ == "__main__":
    print(json.dumps(asked(*sys.argv[1:])))
