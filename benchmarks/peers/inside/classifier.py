"""The model as the rivals call it: texts in, probabilities out, on one thread.

    python -m benchmarks.peers.inside.classifier ARTIFACT TEXTS

times the forms of an artifact on a JSON file of texts and prints texts a second by form.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

BATCH = 32  # texts that a rival may put into one run
WAIT_SECONDS = 0.002  # that a rival waits for more of them, at most
FILES = {"fp32": "model.onnx", "int8": "model-int8.onnx", "openvino-int8": "model-openvino-int8.onnx"}
_SECONDS = 2.0  # a form is timed for
Logits = NDArray[np.float32]


class Classifier:
    """A graph of an artifact with its tokenizer. Raises KeyError for a form that is not in `FILES`."""

    def __init__(self, artifact: str | Path, form: str) -> None:
        folder = Path(artifact)
        limit = json.loads((folder / "manifest.json").read_text("utf-8"))["max_length"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(limit)
        self._tokenizer.enable_padding()
        run = _openvino if form.startswith("openvino") else _onnxruntime
        self._run = run(str(folder / FILES[form]))

    @classmethod
    def from_environment(cls) -> Classifier:
        """Of the artifact that ARTIFACT names, in the form that FORM names."""
        return cls(os.environ["ARTIFACT"], os.environ["FORM"])

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """The probability of each label, by text; at most `BATCH` texts go into one run."""
        found: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            encoded = self._tokenizer.encode_batch(list(texts[start : start + BATCH]))
            feed = {
                "input_ids": np.array([row.ids for row in encoded], np.int64),
                "attention_mask": np.array([row.attention_mask for row in encoded], np.int64),
                "token_type_ids": np.array([row.type_ids for row in encoded], np.int64),
            }
            logits = self._run(feed)
            powers = np.exp(logits - logits.max(-1, keepdims=True))
            found += (powers / powers.sum(-1, keepdims=True)).tolist()
        return found


def _onnxruntime(path: str) -> Callable[[dict[str, Any]], Logits]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}

    def run(feed: dict[str, Any]) -> Logits:
        return np.asarray(session.run(None, {name: feed[name] for name in names})[0])

    return run


def _openvino(path: str) -> Callable[[dict[str, Any]], Logits]:
    import openvino

    hints = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    model = openvino.Core().compile_model(path, "CPU", hints)
    names = {name for entry in model.inputs for name in entry.names}
    request = model.create_infer_request()

    def run(feed: dict[str, Any]) -> Logits:
        # A copy: the memory of the result is used again by the next run.
        return np.array(request.infer({name: feed[name] for name in names})[0])

    return run


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Of 1, 4 and 16 texts in turn."""
    endless = cycle(texts)
    for size in cycle((1, 4, 16)):
        yield [next(endless) for _ in range(size)]


def main() -> None:
    """Print texts a second of every form that the artifact carries and this environment runs."""
    artifact, texts = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text("utf-8"))
    found = {}
    for form, file in FILES.items():
        if not (artifact / file).exists():
            continue
        classifier, done = Classifier(artifact, form), 0
        classifier(texts[:BATCH])
        begun = time.perf_counter()
        for batch in _batches(texts):
            classifier(batch)
            done += len(batch)
            if time.perf_counter() - begun > _SECONDS:
                break
        found[form] = round(done / (time.perf_counter() - begun), 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
