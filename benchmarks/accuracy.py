"""What compression costs in accuracy, form by form and stage by stage: every figure is of `pgb compress`, run by this
script.

Rows: SST-2 and extractive questions; structures x shares kept, and several seeds of the default. 5,000 rows of SST-2's
training set, and a part of the questions to learn from, are kept out of training; whatever is chosen is chosen there,
and the models between the stages are scored there. The dev sets are scored once a row, in every form that the artifact
has, and differences are taken row by row of the data: their mean and its 95% interval. A finished row is written at
once, so a stopped run goes on. Structures that come to the same plan have the same artifact: it is made once.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import script
from pgb_core.artifact import FP32, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow, TextRow, read_data, read_labels
from pgb_core.inference.load import Loaded, load
from pgb_core.inference.tasks.qa import Options as AnswerOptions
from pgb_core.inference.tasks.qa import Question
from pgb_core.machine import facts
from pgb_core.options import is_int8
from pgb_core.tasks.squad import answer_f1

CHOOSE = 5000  # rows of SST-2's training set that nothing learns from
QUESTIONS = ("new_wiki", "amazon_reviews")
CHOOSE_QUESTIONS = 0.05  # share of the articles
MEASURED = ("accuracy", "stage_accuracy", "stages", "seconds")  # of the manifest
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One artifact to make. keep 1 is the dense model. Without `labels` it learns from the dense model alone.

    prices: how much run time counts in the plan, None for the default.
    """

    task: str
    structure: str
    keep: float
    seed: int = 0
    noise: float = 0.5
    labels: bool = True
    prices: float | None = None

    @property
    def name(self) -> str:
        """As the results call it."""
        said = f"{self.task}, {self.structure}, {self.keep:g}, seed {self.seed}"
        said += ("" if self.noise else ", no noise") + ("" if self.labels else ", no labels")
        return said + ("" if self.prices is None else f", prices {self.prices:g}")

    @property
    def file(self) -> str:
        """Of what is kept of it."""
        return self.name.replace(", ", "-").replace(" ", "")

    def same_but_structure(self, other: Row) -> bool:
        """Whether the artifacts are the same if their plans are."""
        return self != other and self == replace(other, structure=self.structure)


ROWS = (
    Row("sst2", "auto", 1),
    Row("qa", "auto", 1),
    *(Row("sst2", "auto", keep) for keep in (0.5, 0.25, 0.12)),
    *(Row("qa", "auto", keep) for keep in (0.5, 0.25, 0.12)),
    *(Row("sst2", structure, keep) for structure in ("shared", "nested", "disjoint") for keep in (0.5, 0.25, 0.12)),
    *(Row("qa", structure, keep) for structure in ("shared", "nested") for keep in (0.5, 0.25)),
    *(Row("sst2", structure, 0.5, seed) for structure in ("auto", "shared") for seed in (1, 2)),
    *(Row(task, "auto", 0.5, noise=0.0) for task in ("sst2", "qa")),
    *(Row("sst2", "auto", keep, labels=False) for keep in (0.5, 0.25)),
    Row("qa", "auto", 0.12, prices=0.02),
)


def shuffled(items: list[Any]) -> list[Any]:
    """In an order that is always the same."""
    return [items[n] for n in np.random.default_rng(0).permutation(len(items))]


def prepare(data: Path, work: Path) -> None:
    """Files to learn from and to choose on."""
    if (work / "qa-train.json").exists():  # the last that is written
        return
    work.mkdir(parents=True, exist_ok=True)
    lines = (data / "glue/sst2/train.tsv").read_text("utf-8").splitlines()
    header, rows = lines[0], shuffled(lines[1:])
    (work / "sst2-choose.tsv").write_text("\n".join([header, *rows[:CHOOSE]]) + "\n", "utf-8")
    (work / "sst2-train.tsv").write_text("\n".join([header, *rows[CHOOSE:]]) + "\n", "utf-8")
    every = [
        article
        for part in QUESTIONS
        for article in json.loads((data / f"squad/squadshifts-{part}_v1.0.json").read_text("utf-8"))["data"]
    ]
    articles = shuffled(every)
    kept_out = max(1, int(CHOOSE_QUESTIONS * len(articles)))
    for name, part in (("choose", articles[:kept_out]), ("train", articles[kept_out:])):
        (work / f"qa-{name}.json").write_text(json.dumps({"version": "1.1", "data": part}), "utf-8")


def compress(row: Row, args: argparse.Namespace) -> Path:
    """The artifact of a row, by the command line."""
    out: Path = args.work / row.file
    if not (out / "manifest.json").exists():
        ending = "tsv" if row.task == "sst2" else "json"
        given = ["--forms", args.forms, "--eval", str(args.work / f"{row.task}-choose.{ending}")]
        if row.keep < 1:
            given += ["--epochs", str(args.epochs[row.task])]
            given += ["--noise", f"{row.noise:g}"] if any(map(is_int8, args.forms.split(","))) else []
        _run(row, args, out, given)
    return out


def planned(row: Row, args: argparse.Namespace) -> str:
    """The digest of the plan that the artifact of a row would have, by the command line and without training."""
    prices = CompressConfig(checkpoint="-", out="-", train="-", forms=args.forms).prices  # as in the row's own run
    out: Path = args.work / f"{row.file}-plan"
    _run(row, args, out, ["--forms", FP32, "--plan-for", prices, "--epochs", "0"])
    digest = open_artifact(out).manifest.plan_digest
    shutil.rmtree(out)
    return digest


def _run(row: Row, args: argparse.Namespace, out: Path, given: list[str]) -> None:
    rows = str(args.work / f"{row.task}-train.{'tsv' if row.task == 'sst2' else 'json'}")
    task = "classification" if row.task == "sst2" else "qa"
    asked = ["--task", task, "--keep", f"{row.keep:g}", "--out", str(out), "--device", args.device, "--force"]
    if row.keep == 1:
        asked += ["--calibrate", rows]  # for the ranges that int8 forms want
    else:
        asked += [
            "--train" if row.labels else "--calibrate",
            rows,
            "--structure",
            row.structure,
            "--seed",
            str(row.seed),
        ]
        asked += ["--samples", "512"] if row.task == "qa" else []
        asked += [] if row.prices is None else ["--price-weight", f"{row.prices:g}"]
    command = [sys.executable, "-m", "pgb_core.cli", "compress", str(args.models / f"minilm-l6-{row.task}")]
    subprocess.run([*command, *asked, *given], check=True)


def twin(row: Row, found: Mapping[str, Any], plan: Callable[[], str]) -> Row | None:
    """The row whose artifact is this row's too: of another structure, and with the same plan. None without one.

    found: results by the names of rows. plan: the digest of this row's plan, made only where there is such a row.
    """
    others = [other for other in ROWS if row.same_but_structure(other) and "plan" in found.get(other.name, {})]
    digest = plan() if others and row.keep < 1 else None
    return next((other for other in others if found[other.name]["plan"] == digest), None)


def copied(row: Row, other: Row, rows: Mapping[str, Any], work: Path) -> dict[str, Any]:
    """The results of another row, whose artifact is this row's too, and its scores row by row of the data."""
    found: dict[str, Any] = copy.deepcopy(rows[other.name])
    for form, dev in found["dev"].items():
        for name in [name for name in dev if name != f"to {FP32}" and name.startswith("to ")]:
            del dev[name]  # `compared` has this row's own
        if (work / f"{other.file}-{form}.npy").exists():
            shutil.copy(work / f"{other.file}-{form}.npy", work / f"{row.file}-{form}.npy")
    return {**found, "same as": other.name}


def dev_scores(loaded: Loaded, task: str, data: Path) -> Scores:
    """Of each row of the dev set; see `row_scores`."""
    return row_scores(
        loaded, task, data / ("glue/sst2/dev.tsv" if task == "sst2" else "squad/squad-dev-v1.1-half.json")
    )


def row_scores(loaded: Loaded, task: str, path: Path) -> Scores:
    """Of each row of a file, 0 to 100: for `qa` the F1 of the answer, else whether the label is right."""
    if task != "qa":
        rows = [r for r in read_data(path, "texts").rows if isinstance(r, TextRow)]
        gold = read_labels(rows, loaded.manifest.labels, None).targets
        found = loaded.classify([r.text for r in rows])
        labels = [loaded.manifest.labels.index(scores[0].label) for scores in found]
        return 100.0 * np.array([label == target for label, target in zip(labels, gold, strict=True)], float)
    every = read_data(path, "questions").rows
    questions = [r for r in every if isinstance(r, QuestionRow)]
    silent = replace(AnswerOptions(), handle_impossible=any(r.answers == () for r in questions))
    answers = loaded.answers([Question(r.question, r.context) for r in questions], silent)
    return 100.0 * np.array(
        [
            max(answer_f1(answer[0].text if answer else "", gold) for gold, _ in r.answers or [("", 0)])
            for answer, r in zip(answers, questions, strict=True)
        ]
    )


def difference(one: Scores, other: Scores) -> dict[str, float]:
    """Points that `other` has less than `one`, row by row, with the 95% interval of the mean."""
    each = one - other
    half = 1.96 * float(each.std(ddof=1)) / len(each) ** 0.5
    mean = float(each.mean())
    return {"lost": round(mean, 3), "from": round(mean - half, 3), "to": round(mean + half, 3)}


def measure(row: Row, args: argparse.Namespace) -> dict[str, Any]:
    """Make the artifact, score dev once in every form."""
    start = time.perf_counter()
    path = compress(row, args)
    minutes = (time.perf_counter() - start) / 60
    manifest = open_artifact(path).manifest
    found: dict[str, Any] = {
        "weights_kept": round(manifest.weights["kept"] / manifest.weights["dense"], 4),
        "minutes": round(minutes, 1),
        "device": args.device,
        "plan": manifest.plan_digest,
        "settings": manifest.provenance["settings"],
        "measured": {name: manifest.measured[name] for name in MEASURED if name in manifest.measured},
        "forms": {name: dict(record.measured) for name, record in manifest.forms.items()},
        "dev": {},
    }
    scores: dict[str, Scores] = {}
    for form in manifest.forms:
        with load(path, form) as loaded:
            scores[form] = dev_scores(loaded, row.task, args.data)
        found["dev"][form] = {"score": round(float(scores[form].mean()), 3), "rows": len(scores[form])}
        if form != FP32:
            found["dev"][form] |= {"to fp32": difference(scores[FP32], scores[form])}
        np.save(args.work / f"{row.file}-{form}.npy", scores[form])
    found["megabytes"] = {
        name: round((path / record.file).stat().st_size / 1e6, 1) for name, record in manifest.forms.items()
    }
    return found


def compared(work: Path, results: dict[str, Any]) -> None:
    """Structures against `shared`, and everything against the dense model, row by row of the data, in place."""
    for row in ROWS:
        mine = work / f"{row.file}-{FP32}.npy"
        if row.name not in results["rows"] or not mine.exists():
            continue
        others = {"dense": Row(row.task, "auto", 1), "shared": Row(row.task, "shared", row.keep, row.seed)}
        for name, other in others.items():
            theirs = work / f"{other.file}-{FP32}.npy"
            if other != row and theirs.exists():
                results["rows"][row.name]["dev"][FP32][f"to {name}"] = difference(np.load(theirs), np.load(mine))


def main() -> None:
    """Run the rows that the result file lacks."""
    parser = script.parser(__doc__, "accuracy", "models", "data", work="artifacts and scores")
    parser.add_argument("--forms", default="fp32,int8")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs-sst2", type=float, default=3)
    parser.add_argument("--epochs-qa", type=float, default=3)
    parser.add_argument("--only", choices=[row.name for row in ROWS], metavar="ROW", help="the row of this name")
    args = parser.parse_args()
    args.epochs = {"sst2": args.epochs_sst2, "qa": args.epochs_qa}
    prepare(args.data, args.work)
    results = script.read(args.out, {"rows": {}})
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and args.device != "cpu" else "none"
    here = {**facts(), "gpu": gpu, "torch": torch.__version__}
    results.setdefault("machine", here)
    for row in ROWS:
        if row.name in results["rows"] or (args.only and args.only != row.name):
            continue
        asked = {"epochs": args.epochs[row.task], "forms": args.forms.split(",")}
        alike = {name: found for name, found in results["rows"].items() if found["settings"].items() >= asked.items()}
        same = twin(row, alike, partial(planned, row, args))
        found = copied(row, same, alike, args.work) if same else measure(row, args)
        if here != results["machine"]:
            found["machine"] = here
        results["rows"][row.name] = found
        compared(args.work, results)
        script.write(args.out, results)
        print(row.name, json.dumps(results["rows"][row.name]["dev"]), flush=True)


if __name__ == "__main__":
    main()
