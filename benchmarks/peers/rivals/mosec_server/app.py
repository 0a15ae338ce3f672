"""The server; mosec reads its arguments."""

from __future__ import annotations

from typing import Any

from mosec import Server, ValidationError, Worker

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS, Classifier


class Sentiment(Worker):
    """Requests of several texts each, run together."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier.from_environment()

    def deserialize(self, data: bytes) -> list[str]:
        """The texts of one request; its documentation raises ValidationError for those that are wrong."""
        request = super().deserialize(data)
        texts = request.get("texts") if isinstance(request, dict) else None
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValidationError("texts must be a list of texts")
        return texts

    def forward(self, data: list[list[str]]) -> list[Any]:
        """All texts in one run, and then the rows of each request."""
        rows = iter(self.classifier([text for texts in data for text in texts]))
        return [{"scores": [next(rows) for _ in texts]} for texts in data]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Sentiment, num=1, max_batch_size=BATCH, max_wait_time=int(1000 * WAIT_SECONDS))
    server.run()
