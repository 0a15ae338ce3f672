"""The model."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.inside.classifier import Classifier


class Sentiment(MLModel):
    """Labels texts."""

    async def load(self) -> bool:
        """Open the graph."""
        self.classifier = Classifier.from_environment()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The probability of the positive label, by text."""
        rows = self.classifier(StringCodec.decode_input(payload.inputs[0]))
        scores = np.array([[row[1]] for row in rows], np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
