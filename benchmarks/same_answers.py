"""Whether an artifact gives the same answers everywhere: the same rows through others' libraries and every way of ours.

`server` answers rows of a dev set over HTTP; every other way is held against it, row by row:

- onnxruntime, openvino: AutoTokenizer and the graph alone, with the rules of answers written out anew (elsewhere.py);
  OpenVINO is asked for forms that name it;
- optimum: Optimum's models in the pipelines of transformers 4.57.6, in an environment of its own;
- load: `pgb_core.load`, all rows in common batches;
- evaluate: `pgb evaluate`, once labelled with the server's answers, of which it must find every one right
  (questions up to case, articles and marks, which its metric does not see), and once with the right ones, of which it
  must give the metrics that the server's answers have.

Artifacts are made by `pgb compress`, without re-finetuning. What a way has answered is kept in --work, so a stopped run
goes on.

    python -m benchmarks.same_answers --optimum ENVIRONMENT/bin/python
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import script
from benchmarks.elsewhere import WAYS as ELSEWHERE
from benchmarks.service.harness import Server, server
from pgb_core.artifact import MANIFEST, open_artifact
from pgb_core.data import QuestionRow, TextRow, read_data
from pgb_core.inference.load import load
from pgb_core.machine import facts
from pgb_core.tasks.squad import squad_metrics

HERE = Path(__file__).parent
PINS = ("torch==2.13.0", "transformers==4.57.6", "optimum[onnxruntime]==2.1.0")
DEV = {"sst2": "glue/sst2/dev.tsv", "qa": "squad/squad-dev-v1.1-half.json"}
LEARN = {"sst2": "glue/sst2/train.tsv", "qa": "squad/squadshifts-new_wiki_v1.0.json"}
AT_ONCE = 32  # rows of a request
SHOWN = 5  # rows that differ

Answers = list[Any]


@dataclass(frozen=True)
class Made:
    """An artifact to make and to ask. keep 1 is the dense model."""

    task: str
    keep: float
    form: str

    @property
    def name(self) -> str:
        """As the results call it."""
        return f"{self.task}, {self.keep:g}, {self.form}"


MADE = tuple(Made(task, keep, form) for keep in (1.0, 0.5) for task in ("sst2", "qa") for form in ("fp32", "int8"))


@dataclass(frozen=True)
class Rows:
    """A dev set. asked: texts, or questions with their contexts. right: labels, or all accepted answers."""

    asked: list[Any]
    right: list[Any]

    def spread(self, count: int) -> Rows:
        """So many, from the first to the last."""
        count = min(count, len(self.asked))
        places = [n * len(self.asked) // count for n in range(count)]
        return Rows([self.asked[n] for n in places], [self.right[n] for n in places])


def rows_of(task: str, data: Path, labels: Sequence[str]) -> Rows:
    """All of them."""
    if task == "sst2":
        texts = [row for row in read_data(data / DEV[task], "texts").rows if isinstance(row, TextRow)]
        return Rows([row.text for row in texts], [labels[int(str(row.label))] for row in texts])
    questions = [row for row in read_data(data / DEV[task], "questions").rows if isinstance(row, QuestionRow)]
    return Rows([(row.question, row.context) for row in questions], [row.answers for row in questions])


def compress(made: Made, args: argparse.Namespace) -> Path:
    """The artifact, by the command line."""
    out: Path = args.work / f"{made.task}-{made.keep:g}"
    if not (out / MANIFEST).exists():
        given = ["--train", str(args.data / LEARN[made.task]), "--keep", f"{made.keep:g}", "--epochs", "0"]
        command = [sys.executable, "-m", "pgb_core.cli", "compress", str(args.models / f"minilm-l6-{made.task}")]
        subprocess.run([*command, *given, "--forms", "fp32,int8", "--out", str(out)], check=True)
    return out


def optimum_python(args: argparse.Namespace) -> Path:
    """The interpreter of an environment that has Optimum; made where none is named."""
    if args.optimum:
        return Path(args.optimum)
    folder: Path = args.work / "optimum"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        (folder / ".ready").touch()
    return python


def by_server(path: Path, form: str, rows: Sequence[Any]) -> Answers:
    """Over HTTP, some rows a request, by the native routes."""
    with server(str(path), "--form", form) as running:
        found: Answers = []
        for start in range(0, len(rows), AT_ONCE):
            found += _posted(running, rows[start : start + AT_ONCE])
    return found


def _posted(running: Server, rows: Sequence[Any]) -> Answers:
    labelled = isinstance(rows[0], str)
    asked = list(rows) if labelled else [{"question": question, "context": context} for question, context in rows]
    status, body = running.post(f"/v1/{'classify' if labelled else 'answer'}", {"inputs": asked})
    if status != 200:
        raise SystemExit(f"the server answered {status}: {body}")
    return _plain(json.loads(body)["results"], labelled)


def by_load(path: Path, form: str, rows: Sequence[Any]) -> Answers:
    """In this process."""
    labelled = isinstance(rows[0], str)
    with load(path, form) as model:
        found = model(list(rows)) if labelled else model([q for q, _ in rows], [context for _, context in rows])
        return _plain(found, labelled)


def _plain(results: Sequence[Any], labelled: bool) -> Answers:
    if labelled:
        return [{each["label"]: each["score"] for each in row} for row in results]
    return [row[0] if row else None for row in results]


def by_library(way: str, python: Path, path: Path, form: str, rows: Sequence[Any], scratch: Path) -> Mapping[str, Any]:
    """`elsewhere.py` in an environment: answers, and the versions that gave them."""
    given, out = scratch.with_suffix(".rows"), scratch.with_suffix(".answers")
    given.write_text(json.dumps(rows), "utf-8")
    graph = open_artifact(path).manifest.forms[form].file
    subprocess.run([python, str(HERE / "elsewhere.py"), way, str(path), graph, str(given), str(out)], check=True)
    return dict(json.loads(out.read_text("utf-8")))


def evaluate(path: Path, form: str, task: str, asked: Sequence[Any], right: Sequence[Any], data: Path) -> Any:
    """Metrics by the command line on rows with these labels, or these lists of (text, place)."""
    if task == "sst2":
        lines = [json.dumps({"text": text, "label": label}) for text, label in zip(asked, right, strict=True)]
        file, given = data.with_suffix(".jsonl"), ["--labels", "names"]
        file.write_text("\n".join(lines) + "\n", "utf-8")
    else:
        paragraphs = [
            {"context": context, "qas": [{"id": str(n), "question": question, "answers": _written(right[n])}]}
            for n, (question, context) in enumerate(asked)
        ]
        file, given = data.with_suffix(".json"), []
        file.write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}), "utf-8")
    command = [sys.executable, "-m", "pgb_core.cli", "evaluate", str(path), "--data", str(file), "--form", form]
    done = subprocess.run([*command, *given, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["metrics"]


def _written(answers: Sequence[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"text": text, "answer_start": start} for text, start in answers]


def evaluated(path: Path, made: Made, rows: Rows, served: Answers, data: Path) -> dict[str, Any]:
    """How many of the server's answers `pgb evaluate` gives, and the metrics of both with the right labels."""
    if made.task == "sst2":
        said: list[Any] = [best(scores) for scores in served]
        ours = {"accuracy": float(np.mean([a == b for a, b in zip(said, rows.right, strict=True)]))}
    else:
        said = [[(answer["answer"], answer["start"])] for answer in served]
        questions = [QuestionRow(q, c, right, "") for (q, c), right in zip(rows.asked, rows.right, strict=True)]
        ours = squad_metrics(questions, [answer["answer"] for answer in served], [0.0] * len(served))
    same = evaluate(path, made.form, made.task, rows.asked, said, data)
    theirs = evaluate(path, made.form, made.task, rows.asked, rows.right, data)
    share = same["accuracy"] if made.task == "sst2" else same["exact_match"] / 100
    return {
        "rows": len(served),
        "equal": round(share * len(served)),
        "metrics": {name: {"evaluate": theirs[name], "server": value} for name, value in ours.items()},
    }


def best(scores: Mapping[str, float]) -> str:
    """The label of the highest score."""
    return max(scores, key=scores.__getitem__)


def compared(served: Answers, other: Answers) -> dict[str, Any]:
    """Rows with the same best label, or with the same text and place; the furthest that a score of such a row is off;
    and a few of the others, without their texts.
    """
    furthest, different = 0.0, []
    for row, (one, two) in enumerate(zip(served, other, strict=True)):
        if one is None or two is None or "start" in one:
            equal = one == two if one is None or two is None else _place(one) == _place(two)
            off = abs(one["score"] - two["score"]) if one and two else 0.0
        else:
            equal, off = best(one) == best(two), max(abs(one[name] - two[name]) for name in one)
        if equal:
            furthest = max(furthest, off)
        else:
            different.append({"row": row, "server": _told(one), "other": _told(two)})
    found = {"rows": len(served), "equal": len(served) - len(different), "largest_difference": furthest}
    return {**found, "different": different[:SHOWN]} if different else found


def _place(answer: Mapping[str, Any]) -> tuple[Any, ...]:
    return answer["answer"], answer["start"], answer["end"]


def _told(answer: Mapping[str, Any] | None) -> Any:
    return answer and {name: value for name, value in answer.items() if name != "answer"}


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """What was kept there, or what is made now."""
    if not path.exists():
        path.write_text(json.dumps(make()), "utf-8")
    return json.loads(path.read_text("utf-8"))


def measure(made: Made, args: argparse.Namespace, versions: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Every way against the server."""
    path = compress(made, args)
    digest = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()[:12]
    manifest = open_artifact(path).manifest
    rows = rows_of(made.task, args.data, manifest.labels).spread(args.rows)

    def place(way: str) -> Path:
        return Path(args.work / f"{path.name}-{made.form}-{digest}-{way}-{len(rows.asked)}.json")

    served = kept(place("server"), lambda: by_server(path, made.form, rows.asked))
    found: dict[str, Any] = {}
    for way in ELSEWHERE:
        if way == "openvino" and way not in manifest.forms[made.form].runtimes:
            continue
        python = optimum_python(args) if way == "optimum" else Path(sys.executable)
        told = kept(place(way), partial(by_library, way, python, path, made.form, rows.asked, place(way)))
        versions[way] = told["versions"]
        found[way] = compared(served, told["answers"])
    found["load"] = compared(served, kept(place("load"), lambda: by_load(path, made.form, rows.asked)))
    found["evaluate"] = evaluated(path, made, rows, served, place("evaluate"))
    return found


def main() -> None:
    """Ask for what the result file lacks."""
    parser = script.parser(__doc__, "same_answers", "models", "data")
    parser.add_argument("--work", type=Path, default=Path(".same"), help="artifacts, answers, and an environment")
    parser.add_argument("--optimum", help="the interpreter of an environment that has Optimum; made by default")
    parser.add_argument("--rows", type=int, default=500, help="of each dev set")
    parser.add_argument("--only", help="the artifact and form of this name")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    results = script.read(args.out, {"versions": {}, "found": {}})
    results = {"machine": facts(), **{name: results[name] for name in ("versions", "found")}}
    for made in MADE:
        if made.name in results["found"] or (args.only and args.only != made.name):
            continue
        results["found"][made.name] = measure(made, args, results["versions"])
        script.write(args.out, results)
        print(made.name, json.dumps(results["found"][made.name]), flush=True)


if __name__ == "__main__":
    main()
