"""Answers of an artifact through libraries of others, for `benchmarks.same_answers`. It knows nothing of this project.

    python benchmarks/elsewhere.py optimum ARTIFACT model.onnx rows.json answers.json

onnxruntime and openvino: the tokenizer by AutoTokenizer, the graph alone, and the rules of answers written out with
NumPy. optimum: its models in the pipelines of transformers, in an environment of its own. Rows are texts, or questions
with their contexts. What is written is a list of the scores of all labels, or of answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH, STRIDE = 384, 128  # tokens: of a window over a context, and of what neighbours share, at most half of it
LONGEST = 15  # tokens of an answer
SPANS = 12  # of a window, from which the best answer is taken

Array = NDArray[np.float32]
Graph = Callable[[Mapping[str, Any]], list[Array]]


def onnxruntime_graph(path: Path) -> Graph:
    """By ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda given: list(session.run(None, dict(given)))


def openvino_graph(path: Path) -> Graph:
    """By OpenVINO on the CPU, in single precision wherever the graph says so."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda given: [np.asarray(found) for found in compiled(dict(given)).values()]


GRAPHS = {"onnxruntime": onnxruntime_graph, "openvino": openvino_graph}
WAYS = (*GRAPHS, "optimum")
PACKAGES = {
    "onnxruntime": ("onnxruntime", "transformers"),
    "openvino": ("openvino", "transformers"),
    "optimum": ("optimum", "optimum-onnx", "transformers", "onnxruntime"),
}


def label(tokenizer: Any, graph: Graph, labels: Mapping[int, str], text: str) -> dict[str, float]:
    """The score of each label."""
    (logits,) = graph(tokenizer(text, truncation=True, return_tensors="np"))
    powers = np.exp(logits[0] - logits[0].max())
    return {labels[n]: float(score) for n, score in enumerate(powers / powers.sum())}


def answer(tokenizer: Any, graph: Graph, question: str, context: str) -> dict[str, Any] | None:
    """The best answer: spans of context tokens by start times end, whole words, equal texts added up."""
    length = min(LENGTH, tokenizer.model_max_length)
    cut = {"truncation": "only_second", "max_length": length, "stride": min(STRIDE, length // 2)}
    windows = tokenizer(question, context, **cut, return_overflowing_tokens=True)
    found: dict[str, dict[str, Any]] = {}
    for window in windows.encodings:
        given = {"input_ids": window.ids, "attention_mask": window.attention_mask, "token_type_ids": window.type_ids}
        given = {name: np.array([values], np.int64) for name, values in given.items()}
        start, end = (
            _shares(logits[0], window.sequence_ids)
            for logits in graph({name: given[name] for name in tokenizer.model_input_names})
        )
        scores = np.tril(np.triu(np.outer(start, end)), LONGEST - 1)
        for place in np.argsort(-scores, axis=None, kind="stable")[:SPANS]:
            first, last = np.unravel_index(place, scores.shape)
            begin = window.word_to_chars(window.word_ids[first], 1)[0]
            stop = window.word_to_chars(window.word_ids[last], 1)[1]
            text = context[begin:stop]
            new = {"answer": text, "start": begin, "end": stop, "score": 0.0}
            found.setdefault(text.lower(), new)["score"] += float(scores[first, last])
    return max(found.values(), key=lambda each: float(each["score"]), default=None)


def _shares(logits: Array, sides: Sequence[int | None]) -> Array:
    """Of each token among those of the context and the first, which stands for no answer and is then left out."""
    allowed = np.array([side == 1 for side in sides])
    allowed[0] = True
    powers = np.where(allowed, np.exp(logits - logits[allowed].max()), np.float32(0))
    powers /= powers.sum()
    powers[0] = 0
    return powers


def by_graph(way: str, artifact: Path, file: str, rows: Sequence[Any]) -> list[Any]:
    """AutoTokenizer and the graph alone, one row at a time."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(artifact)
    config = transformers.AutoConfig.from_pretrained(artifact)
    graph = GRAPHS[way](artifact / file)
    if isinstance(rows[0], str):
        return [label(tokenizer, graph, config.id2label, text) for text in rows]
    return [answer(tokenizer, graph, question, context) for question, context in rows]


def by_optimum(artifact: Path, file: str, rows: Sequence[Any]) -> list[Any]:
    """Optimum's model of the directory as it is, in a pipeline."""
    import optimum.onnxruntime
    from transformers import AutoTokenizer, pipeline

    labelled = isinstance(rows[0], str)
    kind = "SequenceClassification" if labelled else "QuestionAnswering"
    model = getattr(optimum.onnxruntime, f"ORTModelFor{kind}").from_pretrained(artifact, file_name=file)
    tokenizer = AutoTokenizer.from_pretrained(artifact)
    if labelled:
        asked = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
        return [{each["label"]: each["score"] for each in asked([text], truncation=True)[0]} for text in rows]
    asked = pipeline("question-answering", model=model, tokenizer=tokenizer)
    found = [asked(question=question, context=context) for question, context in rows]
    return [{name: each[name] for name in ("answer", "start", "end", "score")} for each in found]


def main() -> None:
    """Answers of all rows, and the versions that gave them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("graph", help="its file in the artifact")
    parser.add_argument("rows", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    rows = json.loads(args.rows.read_text("utf-8"))
    if args.way == "optimum":
        answers = by_optimum(args.artifact, args.graph, rows)
    else:
        answers = by_graph(args.way, args.artifact, args.graph, rows)
    found = {"versions": {name: version(name) for name in PACKAGES[args.way]}, "answers": answers}
    args.out.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
