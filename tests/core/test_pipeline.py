"""The whole job on small models: what it writes, that it repeats itself, and that it can be stopped."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pgb_core.artifact import CARD, open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError, ParityError, PGBError
from pgb_core.export import write
from pgb_core.export.forms import Limits, form_of
from pgb_core.learn.finetune import Trainer
from pgb_core.machine import processor
from pgb_core.measure.scoring import score
from pgb_core.pipeline import compress
from pgb_core.plan import Plan
from pgb_core.progress.report import Report
from pgb_core.session import open_session
from tests.conftest import ARCHITECTURES
from tests.core.planned import dense_plan
from tests.core.small import WORDS, checkpoint, settings
from tests.made import indulgent


@pytest.mark.parametrize("task", ["classification", "qa"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_and_task_ends_in_a_verified_artifact(
    architecture: str, task: str, tmp_path: Path, texts: Path, questions: Path
) -> None:
    """Budget met to one percent, parity measured, metrics recorded, artifact scored like the model."""
    model = checkpoint(tmp_path / "model", architecture, task)
    data = texts if task == "classification" else questions
    done = compress(settings(model, tmp_path / "small", data, eval=str(data)))
    manifest = open_artifact(done.path).manifest
    assert abs(manifest.weights["kept"] / manifest.weights["dense"] - 0.4) <= 0.01
    assert manifest.measured["parity"]["max_difference"] < 1e-4
    assert manifest.measured["parity"]["same_answers"] == manifest.measured["parity"]["inputs"]
    scored = score(done.path, data)
    wanted = manifest.measured["accuracy"]["compressed"]
    assert {name: scored[name] for name in wanted} == pytest.approx(wanted, abs=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"structure": "disjoint", "keep": 0.5},
        {"structure": "nested"},
        {"structure": "nested", "keep": 0.05, "budget": "flops", "forms": ("gpu", "torch")},
        {"budget": "flops"},
        {"forms": ("fp32", "int8", "openvino", "openvino-int8", "gpu", "torch", "torch-bf16")},
        {"distill": False},
        {"from_predictions": True},
        {"epochs": 0.0},
        {"keep": 1.0},
        {"keep": 0.05},
        {"keep": 0.04, "structure": "disjoint"},
    ],
)
def test_every_setting_leads_to_an_artifact(
    changes: dict[str, object], tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Structures, budgets, forms, kinds of learning, and both ends of the range."""
    monkeypatch.setattr(write, "form_of", indulgent)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    done = compress(settings(model, tmp_path / "small", texts, **changes))
    assert tuple(open_artifact(done.path).manifest.forms) == changes.get("forms", ("fp32",))


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"num_labels": 1, "problem_type": "regression"}, 0.5),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, ["LABEL_0", "LABEL_2"]),
        ({"num_labels": 3}, "LABEL_2"),
    ],
)
def test_every_kind_of_head_is_compressed(changes: dict[str, object], label: object, tmp_path: Path) -> None:
    """Regression, many labels, more than two classes, and pairs of texts."""
    model = checkpoint(tmp_path / "model", "bert", "classification", **changes)
    data = tmp_path / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({"text": f"the {w}", "text_pair": "a song", "label": label}) + "\n" for w in WORDS * 3)
    )
    done = compress(settings(model, tmp_path / "small", data))
    activation = {"regression": "none", "multi_label_classification": "sigmoid"}.get(
        str(changes.get("problem_type")), "softmax"
    )
    assert done.manifest.activation == activation


def test_unlabelled_text_is_enough(tmp_path: Path) -> None:
    """Scores from the model's own predictions, and distillation."""
    model = checkpoint(tmp_path / "model", "distilbert", "classification")
    data = tmp_path / "lines.txt"
    data.write_text("\n".join(f"the {a} was {b}" for a in WORDS for b in WORDS[:4]))
    done = compress(
        CompressConfig(
            checkpoint=str(model),
            out=str(tmp_path / "small"),
            calibrate=str(data),
            keep=0.4,
            epochs=1,
            samples=40,
            forms="fp32",
        )
    )
    assert done.manifest.measured["parity"]["inputs"] > 0


def test_the_dense_model_teaches_in_the_plan_s_order_of_the_stream(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a model of which nothing but the order changed has nothing to learn from it."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    dense = load_checkpoint(model).model
    plan = replace(dense_plan(dense), stream=tuple(torch.randperm(96).tolist()))
    losses: list[float] = []

    class Told(Report):
        def advance(self, done: int = 1, note: str = "") -> None:
            if note:
                losses.append(float(note.removeprefix("loss ")))

    monkeypatch.setattr("pgb_core.methods.planned._searched", lambda run, options, scores: plan)
    paths = {"checkpoint": str(model), "out": str(tmp_path / "same"), "calibrate": str(texts)}
    done = compress(CompressConfig(**paths, epochs=1, learning_rate=1e-6, trust_labels=True, forms="fp32"), Told())
    assert losses
    assert max(losses) < 1e-3
    ids = torch.randint(4, 30, (3, 9))
    feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    (found,) = open_session(done.graph("fp32").read_bytes(), 1).run(
        None, {name: value.numpy() for name, value in feed.items()}
    )
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), dense(*feed.values()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("labelled", [False, True])
def test_questions_without_answers_are_enough(labelled: bool, tmp_path: Path, questions: Path) -> None:
    """And what is given for calibration alone is not learned from as labels."""
    model = checkpoint(tmp_path / "model", "bert", "qa")
    if not labelled:
        raw = json.loads(questions.read_text())
        for paragraph in (p for article in raw["data"] for p in article["paragraphs"]):
            for item in paragraph["qas"]:
                del item["answers"]
        questions.write_text(json.dumps(raw))
    schedules = []

    class Seen(Trainer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            schedules.append(self.labels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgb_core.methods.steps.train.Trainer", Seen)
        compress(
            CompressConfig(
                checkpoint=str(model),
                out=str(tmp_path / "small"),
                calibrate=str(questions),
                keep=0.4,
                epochs=1,
                samples=20,
                trust_labels=True,
                forms="fp32",
            )
        )
    assert set(schedules) == {False}


def test_answers_to_score_with_need_no_place(tmp_path: Path) -> None:
    """Forms are compared on these questions, and nothing learns where their answers are."""
    model, rows = checkpoint(tmp_path / "model", "bert", "qa"), tmp_path / "dev.json"
    context = "the town sang a song and a song began"  # an answer without a place that stands there twice has none
    qas = [{"question": "who sang it", "answers": [{"text": text}]} for text in ("town", "song", "song")]
    rows.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas * 4}]}]}))
    done = compress(CompressConfig(checkpoint=model, out=tmp_path / "small", eval=rows, keep=1, forms="fp32"))
    assert done.manifest.measured["accuracy"]["rows"] == 12


@pytest.mark.slow
def test_equal_settings_give_equal_artifacts_and_a_seed_changes_them(tmp_path: Path, texts: Path) -> None:
    """Deterministic for a seed on one device."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    digests = [
        compress(settings(model, tmp_path / f"small-{n}", texts, seed=seed)).manifest.digest
        for n, seed in enumerate((0, 0, 1))
    ]
    assert digests[0] == digests[1] != digests[2]


KILLED = """
import os, signal, sys
from pgb_core.pipeline import compress
from pgb_core.progress.report import Report
from tests.core.planned import dense_plan
from tests.core.small import settings
from pathlib import Path
model, out, data, stage, steps = sys.argv[1:]

class Killer(Report):
    armed, left = False, int(steps)
    def stage(self, title, total=None):
        self.armed = title == stage
        if self.armed and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def advance(self, done=1, note=""):
        if self.armed and done:
            self.left -= done
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

compress(settings(Path(model), Path(out), Path(data)), Killer())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "steps"),
    [
        ("Scoring every weight", 0),
        ("Compensating layer by layer", 2),
        ("Re-finetuning", 5),
        ("Exporting every form and holding it against the model", 0),
    ],
)
def test_a_run_killed_at_any_stage_and_resumed_gives_the_same_artifact(
    stage: str, steps: int, tmp_path: Path, texts: Path
) -> None:
    """SIGKILL, then --resume: hash for hash what an undisturbed run gives, and nothing left behind."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    out = tmp_path / "killed"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(model), str(out), str(texts), stage, str(steps)]
    done = subprocess.run(
        command,
        cwd=root,
        # As many threads as here: sums are of as many parts, whatever tests before this one have set.
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert not out.exists()
    resumed = compress(settings(model, out, texts, resume=True))
    straight = compress(settings(model, tmp_path / "straight", texts))
    # The card says the name, which is that of the directory.
    assert {**resumed.manifest.files, CARD: ""} == {**straight.manifest.files, CARD: ""}
    assert not (tmp_path / ".killed.work").exists()


def test_work_on_other_data_is_not_resumed(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same name that has changed since."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    monkeypatch.setattr("pgb_core.pipeline.write", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compress(settings(model, tmp_path / "small", texts, epochs=0.0))
    lines = texts.read_text().splitlines()
    texts.write_text("\n".join(lines[1:]))
    with pytest.raises(ConfigError, match="other settings or data"):
        compress(settings(model, tmp_path / "small", texts, epochs=0.0, resume=True))


def test_another_run_s_work_is_not_resumed(tmp_path: Path, texts: Path) -> None:
    """Other settings are refused rather than mixed."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    work = tmp_path / ".small.work"
    work.mkdir()
    (work / "run.json").write_text('{"digest": "of something else"}')
    with pytest.raises(ConfigError, match="other settings"):
        compress(settings(model, tmp_path / "small", texts, resume=True))


@pytest.mark.parametrize(
    ("form", "kept"), [("torch-bf16", "compensated, finetuned, plan, scores"), ("int8", "compensated, plan, scores")]
)
@pytest.mark.slow
def test_a_form_that_loses_too_much_stops_the_export_and_keeps_the_stages(
    form: str, kept: str, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the form; the same command without it goes on from there and is what it would have been.

    Of int8 all but the re-finetuning, which is otherwise where such a form is asked for.
    """
    model = checkpoint(tmp_path / "model", "bert", "classification")
    strict = replace(form_of(form), limits=Limits(change=1e-9))
    monkeypatch.setattr(write, "form_of", lambda name: strict if name == form else form_of(name))
    same = {"plan_for": "fp32", "eval": str(texts)}
    with pytest.raises(ParityError, match=rf"form {form} differs too much from the model: .* Leave it out of --forms"):
        compress(settings(model, tmp_path / "small", texts, forms=("fp32", form), **same))
    assert not (tmp_path / "small").exists()
    notes: list[str] = []
    told = Report()
    monkeypatch.setattr(told, "note", notes.append)
    done = compress(settings(model, tmp_path / "small", texts, forms=("fp32",), **same), told)
    assert f"taken over from a stopped run: {kept}" in notes
    assert list(done.manifest.forms) == ["fp32"]
    straight = compress(settings(model, tmp_path / "straight", texts, **same))
    # The card says the name, which is that of the directory.
    assert {**done.manifest.files, CARD: ""} == {**straight.manifest.files, CARD: ""}


def test_a_manifest_says_where_each_form_ran_and_what_it_lost(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drop is that of the metric on the labelled rows; without such rows there is none."""
    monkeypatch.setattr(write, "form_of", indulgent)
    model = checkpoint(tmp_path / "model", "bert", "classification")
    for name, given in (("with", {"eval": str(texts)}), ("without", {})):
        done = compress(settings(model, tmp_path / name, texts, epochs=0.0, forms=("fp32", "int8"), **given))
        fp32, int8 = done.form("fp32"), done.form("int8")
        for record in (fp32, int8):
            assert record.ran["runtime"].startswith("onnxruntime ")
            assert (record.ran["device"], record.ran["processor"]) == ("cpu", processor())
        assert fp32.measured["parity"] == done.manifest.measured["parity"]
        assert 0 <= int8.measured["equal_answers"] <= 1
        assert ("drop" in int8.measured) == bool(given)
        if given:
            whole = done.manifest.measured["accuracy"]["compressed"]["accuracy"]
            lost = 100 * (whole - int8.measured["accuracy"]["accuracy"])
            assert int8.measured["drop"] == pytest.approx(lost, abs=1e-3)
            assert score(done.path, texts, form="int8")["accuracy"] == int8.measured["accuracy"]["accuracy"]


def test_a_failed_run_leaves_nothing(tmp_path: Path, texts: Path) -> None:
    """An output that must not be replaced is found out, and the workspace goes."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(PGBError, match="is no artifact"):
        compress(settings(model, tmp_path / "taken", texts, epochs=0.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "rows.jsonl", "taken"]


def test_the_plan_in_the_artifact_says_what_the_graph_holds(tmp_path: Path, texts: Path) -> None:
    """Kept weights of the plan are the kept weights of the manifest."""
    model = checkpoint(tmp_path / "model", "roberta", "classification")
    done = compress(settings(model, tmp_path / "small", texts))
    plan = Plan.from_json(done.plan.read_text())
    assert plan.cost == done.manifest.weights["kept"]
    assert plan.checkpoint == done.manifest.provenance["checkpoint_sha256"]
