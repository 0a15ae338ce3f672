"""Record what the `question-answering` pipeline of transformers 4.57.6 answers, for `test_oracle.py`.

Later releases have no such pipeline, so it runs in an environment of its own:

    python3 -m venv ORACLE && ORACLE/bin/pip install torch==2.13.0
    ORACLE/bin/pip install transformers==4.57.6
    ORACLE/bin/python tests/oracle/record.py

Of the questions that belong to others, no text is recorded: id, start, end, score and a hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("SHARED_DATA", HERE.parents[2] / "shared"))
DIGITS = 9


def main() -> None:
    """Write `recorded.json`."""
    parser = argparse.ArgumentParser(description="Record the answers of the pipeline.")
    parser.add_argument("--model", type=Path, default=SHARED / "models/minilm-l6-qa")
    parser.add_argument("--squad", type=Path, default=SHARED / "data/squad/squad-dev-v1.1-half.json")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=HERE / "recorded.json")
    asked = parser.parse_args()
    pipe = transformers.pipeline("question-answering", model=str(asked.model), device="cpu", dtype=torch.float32)
    written = {
        "versions": {module.__name__: module.__version__ for module in (transformers, torch, tokenizers)},
        "checkpoint": {"name": asked.model.name, "sha256": _short((asked.model / "model.safetensors").read_bytes())},
        "squad": asked.squad.name,
        "cases": {name: _case(pipe, *rest) for name, *rest in _cases()},
        "questions": [_question(pipe, *one) for one in _spread(list(_questions(asked.squad)), asked.questions)],
    }
    asked.out.write_text(_lines(written), "utf-8")


def _case(pipe: Any, question: str, context: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """inputs: a hash of what the model reads. answers: [text, start, end, score], best first."""
    windowing = {name: parameters[name] for name in ("max_seq_len", "doc_stride") if name in parameters}
    try:
        inputs = [
            [window[name].flatten().tolist() for name in ("input_ids", "token_type_ids")]
            for window in pipe.preprocess({"question": question, "context": context}, **windowing)
        ]
        found = pipe(question=question, context=context, **parameters)
    except BaseException as error:  # the tokenizer's panic is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"refused": type(error).__name__}
    answers = found if isinstance(found, list) else [found]
    return {
        "inputs": _short(json.dumps(inputs).encode()),
        "windows": len(inputs),
        "answers": [[a["answer"], a["start"], a["end"], _rounded(a["score"])] for a in answers],
    }


def _question(pipe: Any, key: str, question: str, context: str) -> list[Any]:
    """[id, start, end, score, hash of the answer]."""
    found = pipe(question=question, context=context)
    return [key, found["start"], found["end"], _rounded(found["score"]), _short(found["answer"].encode())]


def _cases() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    written = json.loads((HERE / "cases.json").read_text("utf-8"))
    for case in written["cases"]:
        context = case["context"]
        if isinstance(context, list):
            context = " ".join(written["texts"][name] for name in context)
        yield case["name"], case["question"], context, case.get("parameters", {})


def _questions(squad: Path) -> Iterator[tuple[str, str, str]]:
    for article in json.loads(squad.read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield qa["id"], qa["question"], paragraph["context"]


def _spread(rows: list[Any], count: int) -> list[Any]:
    return [rows[n * len(rows) // count] for n in range(count)]


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _rounded(score: float) -> float:
    return float(f"{score:.{DIGITS}g}")


def _lines(written: dict[str, Any]) -> str:
    """JSON with a case or a question a line."""
    parts = []
    for key, value in written.items():
        if key == "cases":
            rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            text = f"{{\n{rows}\n  }}"
        elif key == "questions":
            rows = ",\n".join(f"    {json.dumps(row, separators=(',', ':'))}" for row in value)
            text = f"[\n{rows}\n  ]"
        else:
            text = json.dumps(value)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
