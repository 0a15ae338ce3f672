"""Record what the `question-answering` pipeline of transformers 4.57.6 answers, for `test_oracle.py`.

Later releases have no such pipeline, so it runs in an environment of its own, from the root of the repository:

    python3 -m venv ORACLE && ORACLE/bin/pip install torch==2.13.0
    ORACLE/bin/pip install transformers==4.57.6
    ORACLE/bin/python -m tests.oracle.record

Of the questions that belong to others, no text is recorded: id, start, end, score and a hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from tests.oracle import made
from tests.oracle.cases import CASES, SEVERAL, TEXTS, Case, Several

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("SHARED_DATA", HERE.parents[2] / "shared"))
DIGITS = 6


def main() -> None:
    """Write `recorded.json`."""
    parser = argparse.ArgumentParser(description="Record the answers of the pipeline.")
    parser.add_argument("--model", type=Path, default=SHARED / "models/minilm-l6-qa")
    parser.add_argument("--squad", type=Path, default=SHARED / "data/squad/squad-dev-v1.1-half.json")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=HERE / "recorded.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {asked.model.name: _short((asked.model / "model.safetensors").read_bytes())}
        pipes = {asked.model.name: _pipeline(asked.model)}
        for name in made.BYTE_LEVEL:
            checkpoints[name] = made.checkpoint(Path(folder) / name, name, TEXTS)
            pipes[name] = _pipeline(Path(folder) / name)
        written = {
            "versions": {module.__name__: module.__version__ for module in (transformers, torch, tokenizers)},
            "checkpoints": checkpoints,
            "cases": {name: {case.name: _case(pipe, case) for case in CASES} for name, pipe in pipes.items()},
            "several": {
                name: {case.name: _several(pipe, case) for case in SEVERAL}
                for name, pipe in pipes.items()
                if name in made.BYTE_LEVEL
            },
            "squad": asked.squad.name,
            "questions": [
                _question(pipes[asked.model.name], *one)
                for one in _spread(list(_questions(asked.squad)), asked.questions)
            ],
        }
    asked.out.write_text(_lines(written), "utf-8")


def _pipeline(model: Path) -> Any:
    return transformers.pipeline("question-answering", model=str(model), device="cpu", dtype=torch.float32)


def _case(pipe: Any, case: Case) -> dict[str, Any]:
    """inputs: a hash of what the model reads. answers: [start, end, score], best first."""
    windowing = {name: case.parameters[name] for name in ("max_seq_len", "doc_stride") if name in case.parameters}
    read = [name for name in pipe.tokenizer.model_input_names if name != "attention_mask"]
    try:
        windows = list(pipe.preprocess({"question": case.question, "context": case.context}, **windowing))
        found = pipe(question=case.question, context=case.context, **case.parameters)
    except BaseException as error:  # the tokenizer's panic is no Exception
        return _refused(error)
    answers = found if isinstance(found, list) else [found]
    if any(a["answer"] != case.context[a["start"] : a["end"]] for a in answers):
        raise ValueError(f"{case.name}: an answer is not what stands at its place")
    return {
        "inputs": _short(
            json.dumps([[window[name].flatten().tolist() for name in read] for window in windows]).encode()
        ),
        "windows": len(windows),
        "answers": [_answer(answer) for answer in answers],
    }


def _several(pipe: Any, case: Several) -> Any:
    """Answers in the lists that the pipeline gives them in."""
    try:
        if isinstance(case.inputs, dict):
            found = pipe(**case.inputs, **case.parameters)
        else:
            found = pipe(case.inputs, **case.parameters)
    except Exception as error:
        return _refused(error)
    return _listed(found)


def _listed(found: Any) -> Any:
    return [_listed(each) for each in found] if isinstance(found, list) else _answer(found)


def _refused(error: BaseException) -> dict[str, Any]:
    if isinstance(error, KeyboardInterrupt):
        raise error
    return {"refused": type(error).__name__}


def _answer(answer: Mapping[str, Any]) -> list[Any]:
    return [answer["start"], answer["end"], _rounded(answer["score"])]


def _question(pipe: Any, key: str, question: str, context: str) -> list[Any]:
    """[id, start, end, score, hash of the answer]."""
    found = pipe(question=question, context=context)
    return [key, *_answer(found), _short(found["answer"].encode())]


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


def _lines(written: Mapping[str, Any]) -> str:
    """JSON with a case or a question a line."""
    parts = []
    for key, value in written.items():
        if key in ("cases", "several"):
            tables = []
            for name, rows in value.items():
                lines = ",\n".join(f"      {json.dumps(case)}: {_compact(row)}" for case, row in rows.items())
                tables.append(f"    {json.dumps(name)}: {{\n{lines}\n    }}")
            text = "{\n" + ",\n".join(tables) + "\n  }"
        elif key == "questions":
            rows = ",\n".join(f"    {_compact(row)}" for row in value)
            text = f"[\n{rows}\n  ]"
        else:
            text = json.dumps(value)
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _compact(row: Any) -> str:
    return json.dumps(row, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
