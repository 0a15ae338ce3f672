"""What compression costs in accuracy, stage by stage.

For each task, share of weights kept and structure: importance kept, score when pruned, after
compensation, after re-finetuning, and the minutes of each stage (by the clock, and of all cores
together, which a pause or a busy machine does not lengthen). Needs the data and checkpoints named
by --data and --models. Every finished row is written at once, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from benchmarks.importance import importance_kept
from pgb_core.checkpoints.load import Checkpoint, load_checkpoint
from pgb_core.data import Question, TextRow, read_data, read_labels
from pgb_core.inference.batches import run_all
from pgb_core.learn import fisher
from pgb_core.learn.compensate import compensate
from pgb_core.learn.finetune import Schedule, Trainer, learning_rate
from pgb_core.learn.teacher import Teacher
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.prices import prices_of
from pgb_core.progress.report import Report
from pgb_core.run.reading import Options, read
from pgb_core.search import planning
from pgb_core.search.importance import importance
from pgb_core.tasks import Source
from pgb_core.tasks.classification import encode_texts
from pgb_core.tasks.features import Features, batches
from pgb_core.tasks.qa import encode_questions

CALIBRATION = {"sst2": 1024, "qa": 384}
METRIC = {"sst2": "accuracy", "qa": "f1"}
PERCENT = {"sst2": 100.0, "qa": 1.0}


class Task:
    """A checkpoint with its training, calibration and evaluation data."""

    def __init__(self, name: str, models: Path, data: Path, questions: int) -> None:
        self.name = name
        self.checkpoint: Checkpoint = load_checkpoint(models / f"minilm-l6-{name}")
        c = self.checkpoint
        if name == "sst2":
            self.train = self._texts(data / "glue/sst2/train.tsv")
            self.dev = self._read(data / "glue/sst2/dev.tsv")
        else:
            rows = [
                row
                for part in ("new_wiki", "amazon_reviews")
                for row in _questions(data / f"squad/squadshifts-{part}_v1.0.json")
            ]
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
            self.train = encode_questions([rows[i] for i in order], c.tokenizer, 192, 64)
            every = self._read(data / "squad/squad-dev-v1.1-half.json")
            count = len(every.rows)
            self.dev = every.picked(range(0, count, max(1, count // questions))[:questions])
        pick = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(1)).tolist()
        self.calibration: list[Features] = [self.train[i] for i in pick[: CALIBRATION[name]]]

    def _texts(self, path: Path) -> list[Features]:
        c = self.checkpoint
        rows = [row for row in read_data(path, "texts").rows if isinstance(row, TextRow)]
        return encode_texts(rows, read_labels(rows, c.labels, None).targets, c.tokenizer, 128)

    def _read(self, path: Path) -> Source:
        return read(str(path), self.checkpoint.subject, Options(), Report(), labelled="evaluation")

    def score(self, model: Encoder) -> float:
        """SST-2 accuracy or SQuAD F1, percent."""
        c = self.checkpoint
        found = c.task.score(self.dev, c.subject, c.served_tokenizer, partial(run_all, torch_predictor(model)))
        return PERCENT[self.name] * (found[METRIC[self.name]] or 0.0)


def _questions(path: Path) -> list[Question]:
    return [row for row in read_data(path, "questions").rows if isinstance(row, Question)]


def measure(task: Task, keep: float, structure: str, schedule: Schedule, unlabelled: bool) -> dict[str, object]:
    """One row of the table."""
    c = task.checkpoint
    start, minutes, core_minutes = (0.0, 0.0), {}, {}

    def begin() -> None:
        nonlocal start
        start = (time.perf_counter(), time.process_time())

    def lap(stage: str) -> None:
        minutes[stage] = round((time.perf_counter() - start[0]) / 60, 2)
        core_minutes[stage] = round((time.process_time() - start[1]) / 60, 2)
        begin()

    begin()

    scores = fisher.fisher(
        c.model, batches(task.calibration, 2048, c.model.config.pad_id), c.subject.objective, 0, unlabelled
    )
    sites = c.model.sites()
    importances = {site: importance(sites[site].to_dense().detach(), values) for site, values in scores.items()}
    lap("score")
    found = planning.make_menus(importances, c.model.config.head_dim, planning.Search(prices_of("fp32"), structure))
    plan = planning.choose(found, keep, c.digest, c.model.config.head_dim)
    lap("plan")
    model = surgery.apply_plan(c.model, plan).eval()
    row: dict[str, object] = {"importance_kept": round(importance_kept(plan, importances), 4)}
    row["weights_kept"] = round(plan.cost / plan.dense_cost, 4)
    row["dropped_layers"] = list(plan.dropped_layers)
    row["pruned"] = round(task.score(model), 2)
    begin()
    dense = surgery.ordered(c.model, plan)
    compensate(dense, model, plan, list(batches(task.calibration, 4096, c.model.config.pad_id)))
    lap("compensate")
    row["compensated"] = round(task.score(model), 2)
    begin()
    trainer = Trainer(model, Teacher(dense, task.train), task.train, c.subject.objective, schedule)
    trainer.run()
    lap("finetune")
    row["finetuned"] = round(task.score(model), 2)
    return {**row, "steps": trainer.steps, "minutes": minutes, "core_minutes": core_minutes}


def main() -> None:
    """Run the rows that the result file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality.json"))
    parser.add_argument("--questions", type=int, default=1500, help="SQuAD questions to score, evenly drawn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "rows", nargs="+", help="task:keep:structure:epochs[:unlabelled], for example sst2:0.5:shared:2"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = json.loads(args.out.read_text()) if args.out.exists() else {"rows": {}}
    results["machine"] = {"cpu": _cpu(), "threads": args.threads, "torch": torch.__version__}
    tasks: dict[str, Task] = {}
    for spec in args.rows:
        if spec in results["rows"]:
            continue
        name, keep, structure, epochs, *rest = spec.split(":")
        task = tasks.get(name) or tasks.setdefault(name, Task(name, args.models, args.data, args.questions))
        schedule = Schedule(
            epochs=float(epochs),
            labels=not rest,
            learning_rate=learning_rate(float(keep)),
            tokens=1024 if name == "sst2" else 3072,
        )
        dense = round(task.score(task.checkpoint.model), 2)
        row = measure(task, float(keep), structure, schedule, bool(rest))
        results["rows"][spec] = {"dense": dense, **row, "schedule": asdict(schedule)}
        print(spec, json.dumps(results["rows"][spec]), flush=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
