"""The size that a loss or a speed asks for."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from pgb_core.artifact import open_artifact, swap
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.cli import main
from pgb_core.commands.compress import _sought
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow
from pgb_core.data.rows import TextRow
from pgb_core.errors import ConfigError, DataError, TrainingError
from pgb_core.inference.batches import prepare_texts, run_all
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.learn.finetune import Trainer
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.pipeline import compress
from pgb_core.run.inputs import read_inputs
from pgb_core.run.judge import Judge
from pgb_core.run.workspace import locked
from pgb_core.seek import run, search
from pgb_core.seek.promise import Promise, lost
from pgb_core.seek.sizes import largest, smallest
from pgb_core.tasks import Source
from pgb_core.tasks.metrics import Metrics
from pgb_core.tasks.parts import half, seen, some
from tests.core.small import WORDS, changed, checkpoint, instead
from tests.made import Make
from tests.reports import Heard

USUAL = {"checkpoint": "here", "out": "there", "train": "rows"}


@pytest.mark.parametrize("count", range(9))
def test_the_search_finds_the_edge_in_few_runs(count: int) -> None:
    """Wherever the edge is: the smallest that fits, or the largest, in at most log2 of the sizes and one."""
    sizes = [1.0 - n / 10 for n in range(count)]
    for edge in range(count + 1):
        asked: list[float] = []

        def fits(size: float, asked: list[float] = asked, edge: int = edge) -> bool:
            asked.append(size)
            return sizes.index(size) < edge

        assert smallest(sizes, fits) == (sizes[edge - 1] if edge else None)
        assert len(asked) <= count.bit_length()
        assert largest(sizes, lambda size, edge=edge: sizes.index(size) >= edge) == (
            sizes[edge] if edge < count else None
        )


def test_halves_share_no_row_and_no_context() -> None:
    """Together they are all rows."""
    texts = [TextRow(f"text {n}", None, "1", f"row {n}") for n in range(7)]
    questions = [QuestionRow("who", f"context {n // 3}", [], f"row {n}") for n in range(9)]
    for rows in (texts, questions):
        source = Source("file", rows, list(range(len(rows))), "")
        first, second = (half(source, n) for n in (0, 1))
        assert sorted(itertools.chain(first.targets, second.targets), key=int) == list(range(len(rows)))  # type: ignore[call-overload]
        shared = {getattr(row, "context", row) for row in first.rows} & {
            getattr(row, "context", row) for row in second.rows
        }
        assert not shared


@pytest.mark.parametrize("sizes", [(10, 60, 8, 50), (30, 1, 1, 28), (5, 120)])
def test_halves_are_as_large_as_contexts_allow(sizes: tuple[int, ...]) -> None:
    """They differ by no more than the largest context has."""
    rows = [QuestionRow("who", f"context {n}", [], f"row {n}") for n, size in enumerate(sizes) for _ in range(size)]
    first, second = (len(half(Source("file", rows, list(range(len(rows))), ""), n).rows) for n in (0, 1))
    assert first + second == len(rows)
    assert abs(first - second) <= max(sizes)
    assert min(first, second) >= min(sizes)


@pytest.mark.parametrize("order", ["alternating", "sorted"])
def test_the_order_of_a_file_does_not_decide_what_a_part_holds(order: str) -> None:
    """Every part has its share of each label, and equal texts are in one part."""
    labels = [n % 2 if order == "alternating" else n // 600 for n in range(1200)]
    rows = [TextRow(f"text {n // 2 if n < 40 else n}", None, str(label), f"row {n}") for n, label in enumerate(labels)]
    source = Source("file", rows, labels, "")
    halves = [half(source, n) for n in (0, 1)]
    for part in (*halves, some(source, 512)):
        share = sum(target == 1 for target in part.targets) / len(part.rows)
        assert abs(share - 0.5) < 0.02
    assert len(some(source, 512).rows) == 512
    first, second = ({row.text for row in part.rows if isinstance(row, TextRow)} for part in halves)
    assert not first & second


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_drop": 1.0}, "--eval"),
        ({"max_drop": 1.0, "keep": 0.5, "eval": "rows"}, "--keep sets the size, --max-drop"),
        ({"max_drop": 0.0, "eval": "rows"}, "max_drop"),
        ({"min_speedup": -1.0, "eval": "rows"}, "min_speedup"),
    ],
)
def test_what_cannot_be_sought_is_refused_first(given: dict[str, object], said: str) -> None:
    """By name, before anything is read."""
    with pytest.raises(ConfigError, match=said):
        CompressConfig(**USUAL | given)


def test_one_compression_does_not_guess_a_size() -> None:
    """The settings ask for a search, and are not taken for half the weights."""
    with pytest.raises(ConfigError, match="seek"):
        compress(CompressConfig(**USUAL, max_drop=1.0, eval="rows"))


TEXTS = [" ".join(words) for words in itertools.islice(itertools.permutations(WORDS[:9], 3), 400)]


def written(path: Path, texts: list[str], label: float | None = None) -> Path:
    """A file of these texts with labels; 0 and 1 in turn where none is given."""
    lines = [{"text": text, "label": n % 2 if label is None else label} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two hundred labelled texts to learn from."""
    return written(tmp_path / "rows.jsonl", TEXTS[:200])


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Two hundred other ones, to judge by."""
    return written(tmp_path / "others.jsonl", TEXTS[200:])


def asked(model: Path, rows: Path, others: Path, out: Path, *more: str) -> list[str]:
    """A quick search by the command line."""
    given = ["compress", str(model), "--train", str(rows), "--eval", str(others), "--out", str(out), "--trust-labels"]
    return [*given, "--samples", "16", "--forms", "fp32", *more]


def test_a_loss_is_promised_on_one_half_and_confirmed_on_the_other(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The artifact stands at --out, an empty directory; it says what was promised, and what was tried is gone.

    The data is read once, and the dense model judged once on each half.
    """
    monkeypatch.setattr(search, "SIZES", (0.7, 0.4))
    read, judged = Mock(wraps=read_inputs), list[Source]()
    measured = Judge._measured

    def seen(self: Judge, name: str, model: Encoder, rows: Source) -> tuple[Metrics, Metrics]:
        if name == "dense":
            judged.append(rows)
        return measured(self, name, model, rows)

    monkeypatch.setattr("pgb_core.run.run.read_inputs", read)
    monkeypatch.setattr(Judge, "_measured", seen)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = asked(model, rows, others, tmp_path / "small", "--epochs", "0")
    (tmp_path / "small").mkdir()
    assert main([*given, "--max-drop", "100"]) == 0
    said = capsys.readouterr()
    assert "keep 40%, found in 1 training:" in said.out
    lines = [line.strip() for line in said.err.splitlines()]
    verdict = next(n for n, line in enumerate(lines) if line.startswith("keep 40%: loses "))
    assert lines[verdict].endswith("points, at most 100 are allowed: accepted")
    assert lines[verdict - 1].startswith("keep 40%: exporting every form and holding it against the model: done in ")
    assert "whole job" not in said.err  # nobody knows how many sizes there will be
    found = open_artifact(tmp_path / "small")
    promise = found.manifest.measured["promise"]
    assert promise["asked"] == {"max_drop": 100}
    assert promise["rows"] == 100
    assert promise["holds"] is True
    assert found.manifest.name == "small"
    assert found.manifest.measured["accuracy"]["rows"] == 100
    assert read.call_count == 1
    first, second = ({row.where for row in part.rows} for part in judged)
    assert len(first | second) == 200
    assert not (tmp_path / ".small.sizes").exists()
    assert main([*given, "--max-drop", "100"]) == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "error", "said"), [(1.0, 3.92, True), (1.0, 0.5, False), (1.0, None, False)])
def test_a_loss_that_the_rows_cannot_tell_is_named_at_the_end(
    asked: float, error: float | None, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 100 rows one point is one answer; of a speed alone nothing is said."""
    found = Promise({"max_drop": asked}, 0.5, "accuracy", 100, 1.0, 1.0, error, None, 2)
    monkeypatch.setattr("pgb_core.seek.run.seek", lambda *given: (None, found))
    _sought(CompressConfig(**USUAL, max_drop=asked, eval="rows"), Heard())
    clause = "a loss of 1 point is too small for 100 rows to tell reliably; give more --eval rows"
    told = capsys.readouterr().out
    assert (clause in told) is said
    assert (f"on 100 other rows, where a score has a standard error of {error or 0:.2f}" in told) is (error is not None)
    assert replace(found, asked={"min_speedup": 2.0}, error=3.92).told


def test_a_size_that_cannot_be_made_is_too_small(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With heads alone most sizes are out of reach. The search goes on to larger ones. One search runs at a time."""
    monkeypatch.setattr(search, "SIZES", (0.8, 0.4, 0.2))
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = asked(model, rows, others, tmp_path / "small", "--epochs", "0", "--max-drop", "100")
    given += ["--method", "michel", "--structure", "heads"]
    with locked(tmp_path / "small"):
        assert main(given) == 1
    assert "another job is writing" in capsys.readouterr().err
    assert main(given) == 0
    said = capsys.readouterr()
    assert "keep 80%, found in 1 training:" in said.out
    assert "warning: keep 40%: --structure heads" in " ".join(said.err.split())


def test_a_form_without_its_engine_is_not_promised() -> None:
    """The worst of the others counts, and without any nothing can be told."""
    dense = Metrics({"accuracy": 0.9})
    assert lost(dense, [Metrics({"accuracy": 0.85}), Metrics({"accuracy": 0.88})]) == pytest.approx(5.0)
    assert lost(Metrics({"accuracy": 0.644}), [Metrics({"accuracy": 0.634})]) == 1.0  # and not a little more
    with pytest.raises(ConfigError, match="none of these can be run here"):
        lost(dense, [])
    with pytest.raises(TrainingError, match="not defined"):  # a size too small
        lost(dense, [Metrics({"accuracy": None})])


def test_points_of_answers_are_points_however_few() -> None:
    """An F1 below 1 is less than one point of 100, and not a share."""
    assert Metrics({"exact_match": 0.5, "f1": 0.8}).points() == 0.8
    assert Metrics({"accuracy": 0.8, "f1": 0.7}).points() == 80.0
    assert Metrics({"accuracy": None}).points() is None


@pytest.mark.slow
def test_a_speed_that_no_size_has_is_told_with_what_was_measured(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is put at --out."""
    monkeypatch.setattr(search, "SIZES", (0.5,))
    monkeypatch.setattr(search, "SHAPES", ((1, 16),))
    monkeypatch.setattr(search, "SECONDS", 0.01)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = asked(model, rows, others, tmp_path / "small", "--min-speedup", "900")
    assert main(given) == 1
    assert "no size is 900 times as fast as the fastest dense form (50%: " in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
    (made,) = (tmp_path / ".small.sizes").rglob("manifest.json")
    before = made.stat().st_mtime_ns
    assert main(given) == 1
    assert made.stat().st_mtime_ns == before  # the same command does not make the size again
    capsys.readouterr()
    assert main([*instead(given, "--forms", "int8"), "--plan-for", "fp32"]) == 1
    assert made.stat().st_mtime_ns == before
    assert main(instead(given, "--forms", "torch")) == 1
    assert made.stat().st_mtime_ns > before
    assert set(open_artifact(made.parent).manifest.forms) == {"torch"}
    assert main(instead(given, "--samples", "8")) == 1
    kept = [path for path in (tmp_path / ".small.sizes").iterdir() if path.is_dir()]
    assert len(kept) == 3  # sizes that other settings made are not taken for these
    assert main([*instead(given, "--samples", "4"), "--resume"]) == 1
    assert "the stopped search had other settings or data; leave --resume out" in capsys.readouterr().err


def test_what_cannot_be_promised_is_refused_before_any_training(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too few rows, rows that were learned, forms without engines, a metric without a value; and nothing is left."""
    monkeypatch.setitem(RUNTIMES, "openvino", replace(RUNTIMES["openvino"], module="pgb_core.not_there"))
    model = checkpoint(tmp_path / "model", "bert", "classification")
    stars = checkpoint(tmp_path / "stars", "bert", "classification", num_labels=1, problem_type="regression")
    few = written(tmp_path / "few.jsonl", TEXTS[200:270])
    alike = written(tmp_path / "alike.jsonl", TEXTS[190:290])
    same = written(tmp_path / "same.jsonl", TEXTS[200:], label=0.5)
    before = {path.name for path in tmp_path.iterdir()}
    for given, said in (
        ({"eval": few}, "35 rows would choose the size and 35 confirm it, and 40 of each are the least"),
        ({"eval": alike}, "10 of 100 rows are among the rows to learn from, too many .* take them out"),
        ({"forms": "openvino,openvino-int8"}, "the runtime of none of these is installed"),
        ({"checkpoint": stars, "eval": same}, "pearson of the dense model is not defined on half of the rows"),
        ({"max_drop": None, "min_speedup": 2.0, "forms": "gpu"}, "--min-speedup is measured on the CPU"),
        ({"resume": True, "eval": few}, "40 of each are the least"),
    ):
        told, out = Heard(), tmp_path / "small"
        usual = {"checkpoint": model, "train": rows, "eval": others, "out": out, "max_drop": 1.0, "forms": "fp32"}
        with pytest.raises(ConfigError, match=said):
            run.seek(CompressConfig(**usual | given, trust_labels=True, samples=16), told)
        assert "Scoring every weight" not in told.stages
        assert not any("among the rows to learn from" in text for text in told.warnings)
        assert {path.name for path in tmp_path.iterdir()} == before


def test_labels_that_contradict_the_model_promise_nothing(tmp_path: Path, others: Path) -> None:
    """A search is refused before any training, unless they are trusted."""
    model, learned = checkpoint(tmp_path / "model", "bert", "classification"), tmp_path / "learned.txt"
    learned.write_text("".join(f"{text}\n" for text in TEXTS[:200]))
    dense = load_checkpoint(model)
    predict = torch_predictor(dense.model)
    lines = [json.loads(line) for line in others.read_text().splitlines()]
    logits = run_all(predict, prepare_texts(dense.served_tokenizer, [line["text"] for line in lines]))
    answers = [int(each.argmax()) for each in logits]
    assert 10 < sum(answers) < 190
    usual = {"checkpoint": model, "calibrate": learned, "eval": others, "out": tmp_path / "small", "forms": "fp32"}
    config = CompressConfig(**usual, max_drop=1.0, samples=16, labels="ids")
    for given, trusted, refused in (
        (answers, False, False),
        ([1 - n for n in answers], False, True),
        (None, True, False),
    ):
        if given is not None:
            lines = [line | {"label": label} for line, label in zip(lines, given, strict=True)]
            others.write_text("".join(json.dumps(line) + "\n" for line in lines))
        told, asked_for = Heard(), config.model_copy(update={"trust_labels": trusted})
        if refused:
            said = "contradicts the labels to score with: .* No loss can be promised by them.* --trust-labels"
            with pytest.raises(DataError, match=said):
                run.seek(asked_for, told)
            assert "Scoring every weight" not in told.stages
            assert not list(tmp_path.glob(".small*"))
        else:
            search.Seeker(asked_for, tmp_path / "sizes", told)
            assert any("contradicts" in text for text in told.warnings) is trusted


def test_a_few_rows_that_were_learned_are_told() -> None:
    """By their texts, whatever the space between words and the label."""
    learned = Source("a", [TextRow("the  film", None, "1", "a:1"), TextRow("a", "b", "0", "a:2")], [1, 0], "")
    texts = [TextRow("the film ", None, "0", "b:1"), TextRow("a", None, "0", "b:2"), TextRow("a", "b", "0", "b:3")]
    assert seen(Source("b", texts, [0, 0, 0], ""), [learned]) == 2
    assert seen(learned, []) == 0
    question = QuestionRow("who", "the town sang", None, "q")
    other = replace(question, question="what")
    assert seen(Source("q", [question, other], [None, None], ""), [Source("r", [question], [None], "")]) == 1


@pytest.mark.parametrize(("keep", "told"), [(0.5, True), (1.0, False)])
def test_rows_that_show_too_small_a_loss_are_told(keep: float, told: bool, tmp_path: Path, rows: Path) -> None:
    """By any command that makes models smaller; the model as it is learns nothing."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    held = written(tmp_path / "held.jsonl", TEXTS[190:290])
    config = CompressConfig(checkpoint=model, train=rows, eval=held, out=tmp_path / "small", keep=keep)
    said = Heard()
    read_inputs(config, load_checkpoint(model), said)
    assert any("held.jsonl: 10 of 100 rows (10.0%) are among" in text for text in said.warnings) is told


def test_what_was_trained_is_not_trained_again(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk at the end costs no size; a damaged one is made again of its stages, and so are other forms."""
    monkeypatch.setattr(search, "SIZES", (0.5,))
    model, out = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "small"
    given = asked(model, rows, others, out, "--steps", "2", "--max-drop", "100", "--plan-for", "fp32")

    def full(staging: Path, root: Path) -> None:
        if root == out:
            raise OSError(28, "No space left on device")
        swap(staging, root)

    with monkeypatch.context() as patch:
        patch.setattr("pgb_core.artifact.writing.swap", full)
        assert main(given) == 1
        assert not out.exists()
        (made,) = (tmp_path / ".small.sizes").rglob("manifest.json")
        graph = made.parent / "model.onnx"
        graph.write_bytes(graph.read_bytes()[:1000])
        capsys.readouterr()
        patch.setattr("pgb_core.methods.steps.score.fisher", None)
        patch.setattr("pgb_core.methods.steps.recover.compensate", None)
        patch.setattr(Trainer, "run", None)
        assert main(given) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "damaged and left out; it is made again" in said
        assert "No space left on device" in said
        patch.setattr("pgb_core.artifact.writing.swap", swap)
        assert main([*instead(given, "--forms", "fp32,torch"), "--resume"]) == 0
    assert "found in 1 training:" in capsys.readouterr().out
    found = open_artifact(out)
    assert set(found.manifest.forms) == {"fp32", "torch"}
    assert found.manifest.measured["promise"]["holds"] is True
    assert not list(tmp_path.glob(".small*"))


def test_a_stopped_search_of_another_tokenizer_is_not_published(
    tmp_path: Path, rows: Path, others: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The artifact reads texts as the checkpoint does now, and as the command says."""
    monkeypatch.setattr(search, "SIZES", (0.5,))
    model, out = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2), tmp_path / "small"
    given = asked(model, rows, others, out, "--steps", "2", "--max-drop", "100")

    def stopped(*given: object) -> None:
        raise ConfigError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(run, "measured_anew", stopped)
        assert main(given) == 1
    changed(model / "tokenizer_config.json", truncation_side="left", model_max_length=12)
    assert main([*given, "--resume"]) == 1
    assert "the stopped search had other settings or data" in capsys.readouterr().err
    assert main(given) == 0
    said, found = " ".join(capsys.readouterr().err.split()), open_artifact(out)
    assert "cut at 12 tokens on the left" in said
    assert found.manifest.max_length == 12
    assert json.loads(found.tokenizer.read_bytes())["truncation"]["direction"] == "Left"


@pytest.mark.slow
def test_other_answers_of_either_half_begin_another_search(tmp_path: Path) -> None:
    """Sizes that were tried have the losses of the answers as they were."""
    model, learned, judged = checkpoint(tmp_path / "model", "bert", "qa"), tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    learned.write_text(json.dumps({"question": "where", "context": "the town"}))
    answers = {context: context.split()[0] for context in TEXTS[:80]}
    usual = {"checkpoint": model, "calibrate": learned, "eval": judged, "out": tmp_path / "small", "max_drop": 1.0}
    config = CompressConfig(**usual, forms="fp32", trust_labels=True)

    def place() -> Path:
        lines = [{"question": "who", "context": one, "answers": [{"text": text}]} for one, text in answers.items()]
        judged.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return search.Seeker(config, tmp_path / "sizes", Heard()).place(0.5)

    places = {place()}
    rows = [QuestionRow("who", context, (), "") for context in answers]
    for number in (0, 1):
        answers |= {row.texts[1]: row.texts[1].split()[1] for row in half(Source("b", rows, rows, ""), number).rows}
        places.add(place())
    assert len(places) == 3


def test_what_a_search_leaves_that_is_killed_at_its_very_end_goes(tmp_path: Path, make: Make) -> None:
    """Where the artifact that it was about to put in place stands there; anything else stays."""
    out, sizes = tmp_path / "small", tmp_path / ".small.sizes"
    shutil.copytree(make().path, out)
    for digest, stays in (("another", True), (open_artifact(out).digest, False)):
        sizes.mkdir(exist_ok=True)
        (sizes / "published").write_text(digest)
        with pytest.raises(ConfigError, match="--force replaces it"):
            run.seek(CompressConfig(checkpoint=tmp_path / "model", train="t", eval="e", out=out, max_drop=1.0), Heard())
        assert sizes.exists() is stays


@pytest.mark.parametrize("method", ["flop", "voita"])
def test_the_speed_that_is_promised_is_that_of_the_trained_model(
    method: str,
    tmp_path: Path,
    rows: Path,
    others: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where training decides what stays, the untrained model is another; a goal that is missed is told."""
    monkeypatch.setattr(search, "SIZES", (0.5,))
    monkeypatch.setattr(search.Seeker, "_speed", lambda self, keep, made: 5.0 if made.path.name == "model" else 3.0)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    given = asked(model, rows, others, tmp_path / "small", "--method", method, "--steps", "2")
    assert main([*given, "--min-speedup", "4"]) == 0
    said = capsys.readouterr()
    assert "3.00 times the fastest dense form" in said.out
    assert "the trained model is slower than --min-speedup asks for" in said.out
    assert f"--method {method} trains before it cuts: sizes are timed with what it keeps without training" in " ".join(
        said.err.split()
    )
    assert "5.00 times as fast as the fastest dense form, 4 are asked: fast enough" in " ".join(said.err.split())
    assert "keep 50% untrained: gates settled" not in said.err  # without training they did not
    assert ("keep 50%: gates settled" in said.err) is (method == "voita")
    promise = open_artifact(tmp_path / "small").manifest.measured["promise"]
    assert (promise["speedup"], promise["holds"]) == (3.0, False)
