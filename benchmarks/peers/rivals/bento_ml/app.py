"""The service."""

from __future__ import annotations

import bentoml

from benchmarks.peers.inside.classifier import BATCH, Classifier


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Sentiment:
    """Labels texts."""

    def __init__(self) -> None:
        self.classifier = Classifier.from_environment()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=100)
    def classify(self, texts: list[str]) -> list[list[float]]:
        """The probability of each label, by text."""
        return self.classifier(texts)
