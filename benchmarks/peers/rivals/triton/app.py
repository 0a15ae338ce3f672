"""The server: app.py PORT."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS, Classifier

classifier = Classifier.from_environment()


@batch
def classify(text: Any) -> dict[str, Any]:
    """The probability of the positive label, by text."""
    rows = classifier([value.decode("utf-8") for value in text[:, 0]])
    return {"scores": np.array([[row[1]] for row in rows], np.float32)}


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1", http_port=int(sys.argv[1]), allow_grpc=False, allow_metrics=False, log_verbose=0
    )
    batcher = DynamicBatcher(max_queue_delay_microseconds=int(1e6 * WAIT_SECONDS))
    with Triton(config=config) as triton:
        triton.bind(
            model_name="clf",
            infer_func=classify,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=BATCH, batcher=batcher),
            strict=False,
        )
        triton.serve()
