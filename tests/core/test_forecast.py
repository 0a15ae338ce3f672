"""What a compression will cost, told before it trains; and budgets of steps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import forecast as script
from pgb_core.artifact import open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.cli import main
from pgb_core.compare.config import CompareConfig
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.forecast import FILE, Expected, Fit, expected, known
from pgb_core.learn.finetune import Trainer
from pgb_core.methods.outlook import Outlook
from pgb_core.pipeline import compress, forecast
from pgb_core.plan import WRITING, Group, Grouping, Keep, Plan, Role, Site, nothing
from pgb_core.progress.report import Report
from pgb_core.search.kept import importance_kept
from tests.core.small import checkpoint, settings


def test_the_fit_is_that_of_the_committed_rows() -> None:
    """As the script makes it, and each row was foretold without itself."""
    found = script.report(script.rows())
    written = json.loads(FILE.read_text("utf-8"))
    numbers = {name: value for name, value in asdict(known()).items() if name != "method"}
    assert numbers == pytest.approx({name: found["fit"][name] for name in numbers}, rel=1e-2)
    assert len(written["rows"]) == known().rows == len({row["name"] for row in written["rows"]})
    some = script.rows()[:8]
    alone = script.fitted(some[1:])
    assert script.report(some)["rows"][0]["foretold"] == pytest.approx(
        alone[0] * (1 - some[0].kept) ** alone[1], abs=1e-4
    )


def test_more_importance_kept_is_less_lost_within_a_range() -> None:
    """Nothing is lost where all is kept, and never more than there is above chance."""
    fit = Fit(scale=0.5, power=2.0, low=-0.5, high=1.0, rows=20, checkpoints=2, method="pgb")
    half = expected(fit, 0.5, 40.0)
    assert half.middle == pytest.approx(0.5 * 0.25 * 40)
    assert half.low == pytest.approx(40 * (0.125 - 0.5 * 0.145))
    assert half.high == pytest.approx(40 * (0.125 + 0.145))
    assert expected(fit, 1.0, 40.0).middle == 0
    assert expected(fit, 0.9, 40.0).middle < half.middle
    assert expected(Fit(2.0, 1.0, 0.0, 5.0, 20, 2, "pgb"), 0.1, 40.0).high == 40


@pytest.mark.parametrize(
    ("metric", "dense", "said"),
    [
        ("accuracy", 99.5, "accuracy is expected between 0.0 and 100.0, where the dense model has 99.5 (middle 98.5;"),
        ("f1", 80.0, "f1 is expected between 0.0 and 83.0, where the dense model has 80.0 (middle 79.0;"),
        ("pearson", 99.5, "pearson is expected between -0.5 and 102.5, where the dense model has 99.5 (middle 98.5;"),
    ],
)
def test_no_share_is_foretold_that_is_not_possible(metric: str, dense: float, said: str) -> None:
    """From 0 to 100, whatever the errors of the fit were."""
    lost = Expected(low=-3.0, middle=1.0, high=100.0)
    assert said in Outlook(0.5, 0.9, metric, dense, lost, known(), 60.0).said


def test_the_importance_that_a_plan_keeps_is_counted_in_its_order_of_the_stream() -> None:
    """By hand, of one layer."""
    shapes = dict.fromkeys(Role, (2, 3)) | dict.fromkeys(WRITING, (3, 2))
    values = {Site(0, role): torch.arange(6.0).view(shape) for role, shape in shapes.items()}
    choices = {Site(0, role): nothing(shape) for role, shape in shapes.items()}
    assert importance_kept(Plan("c", 1, choices), values) == 0
    assert importance_kept(Plan("c", 1, {site: Keep(one.shape) for site, one in choices.items()}), values) == 1
    site = Site(0, Role.FFN_IN)
    plan = Plan("c", 1, {**choices, site: Grouping((Group((1,), (0, 1)),), (2, 3))}, stream=(2, 0, 1))
    assert importance_kept(plan, values) == pytest.approx((5 + 3) / (6 * 15))


def relabelled(texts: Path, model: Path) -> None:
    """Give the rows the labels that the dense model gives them, so that it is better than chance."""
    dense = load_checkpoint(model)
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    with torch.no_grad():
        for row in rows:
            row["label"] = int(dense.model(torch.tensor([dense.tokenizer.encode(row["text"]).ids])).argmax())
    assert {row["label"] for row in rows} == {0, 1}
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_forecast_trains_nothing_and_the_run_goes_on_from_it(
    tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a range and a time. Of several sizes each is told."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    relabelled(texts, model)
    given = ["compress", str(model), "--train", str(texts), "--eval", str(texts), "--samples", "16"]
    given += ["--structure", "nested", "--forms", "fp32", "--epochs", "1", "--out", str(tmp_path / "small")]
    assert main([*given, "--keep", "0.4", "--forecast"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("keep 0.4 keeps ")
    assert f"of {known().rows} models trained from {known().checkpoints} checkpoints 4 in 5 were within" in line
    assert "accuracy is expected between" in line
    assert "where the dense model has 100.0" in line
    assert "; training takes " in line
    assert not (tmp_path / "small").exists()
    assert main([*given, "--keep", "0.4"]) == 0
    error = " ".join(capsys.readouterr().err.split())
    assert "taken over from a stopped run: compensated, plan, scores" in error
    assert line.partition(";")[0] in error
    assert main([*given[:-1], str(tmp_path / "sizes"), "--keep", "0.5,0.4", "--forecast"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [one.split()[1] for one in lines] == ["0.5", "0.4"]
    assert lines[1].partition(";")[0] == line.partition(";")[0]
    blind = settings(model, tmp_path / "blind", texts, structure="nested", samples=16, epochs=0.5)
    assert "with --eval you are told" in forecast(blind, Report())[0].said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "0"], "--epochs 0 asks for none"),
        (["--keep", "1"], "--keep 1 asks for none"),
        (["--out", "."], "is the directory that this command runs in"),
        (["--keep", "0.5,0.25", "--out", "."], "is the directory that this command runs in"),
        (["--method", "magnitude"], "nothing is known of --method magnitude before it trains"),
        (["--max-drop", "1", "--eval", "TEXTS"], "leave --max-drop and --min-speedup out"),
    ],
)
def test_what_cannot_be_foretold_is_refused(
    words: list[str], said: str, tmp_path: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line, before any work."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    given = ["compress", str(model), "--train", str(texts), "--trust-labels"]
    given += [] if "--out" in words else ["--out", str(tmp_path / "small")]
    assert main([*given, "--forecast", *(str(texts) if word == "TEXTS" else word for word in words)]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "Loading the checkpoint" not in error
    assert not (tmp_path / "small").exists()
    assert not (tmp_path / ".small.work").exists()


def test_steps_are_a_budget_in_place_of_epochs(tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly as many are done, within an epoch and beyond it, and the manifest says both."""
    model = checkpoint(tmp_path / "model", "bert", "classification", num_hidden_layers=2)
    done: list[int] = []
    state = Trainer.state
    monkeypatch.setattr(Trainer, "state", lambda self: (done.append(self.step), state(self))[1])
    base = settings(model, tmp_path / "small", texts, structure="nested", samples=16)
    for steps in (1, 7):
        config = base.model_copy(update={"steps": steps})
        found = compress(config.model_copy(update={"force": True}))
        assert done[-1] == steps
        asked = open_artifact(found.path).manifest.provenance["settings"]
        assert asked["steps"] == steps
        per_epoch = round(steps / asked["epochs"])
        assert asked["epochs"] == pytest.approx(steps / per_epoch, abs=1e-3)


def test_only_one_budget_is_given() -> None:
    """In a comparison too."""
    base: dict[str, Any] = {"checkpoint": "c", "out": "o", "train": "t"}
    with pytest.raises(ConfigError, match="--steps and --epochs are two budgets"):
        CompressConfig(**base, steps=3, epochs=3.0)
    with pytest.raises(ConfigError, match="steps 0 is out of range"):
        CompressConfig(**base, steps=0)
    with pytest.raises(ConfigError, match="--minutes and --steps are two budgets"):
        CompareConfig(**base, eval="e", minutes=1.0, steps=3)
    assert CompareConfig(**base, eval="e", steps=3).minutes_a_point is None
