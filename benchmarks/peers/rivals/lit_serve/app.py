"""The server: app.py PORT. It reads the annotations of the functions, so they are not postponed."""

import sys
from collections.abc import Sequence

import litserve
from pydantic import BaseModel

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS, Classifier

Scores = list[list[float]]


class Texts(BaseModel):
    """The body of a request."""

    texts: list[str]


class Api(litserve.LitAPI):
    """Requests of several texts each, run together."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self.classifier = Classifier.from_environment()

    def decode_request(self, request: Texts) -> list[str]:
        """The texts of one request."""
        return request.texts

    def batch(self, inputs: Sequence[list[str]]) -> Sequence[list[str]]:
        """The requests of one run, as they are."""
        return inputs

    def predict(self, batch: Sequence[list[str]]) -> list[Scores]:
        """All texts in one run, and then the rows of each request."""
        rows = iter(self.classifier([text for texts in batch for text in texts]))
        return [[next(rows) for _ in texts] for texts in batch]

    def unbatch(self, output: list[Scores]) -> list[Scores]:
        """The answers of one run, as they are."""
        return output

    def encode_response(self, output: Scores) -> dict[str, Scores]:
        """The body of one answer."""
        return {"scores": output}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
