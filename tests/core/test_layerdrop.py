"""LayerDrop: which layers stay, how training leaves some out, and a run from end to end."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.learn.finetune import Schedule, Trainer
from pgb_core.learn.layer_drop import LayerDrop
from pgb_core.learn.regime import Step
from pgb_core.learn.teacher import Teacher
from pgb_core.plan import Plan
from pgb_core.search.layers import evenly
from tests.conftest import small_encoder
from tests.core.small import checkpoint, resumed, settings
from tests.core.test_training import LABEL, features


@pytest.mark.parametrize(
    ("layers", "keep", "stays"),
    [
        (12, 0.5, (0, 2, 4, 6, 8, 10)),
        (12, 0.25, (0, 4, 8)),
        (12, 2 / 3, (0, 1, 3, 4, 6, 7, 9, 10)),
        (6, 0.95, (0, 1, 2, 3, 4, 5)),
        (6, 0.01, (0,)),
        (2, 0.5, (0,)),
    ],
)
def test_layers_stay_evenly(layers: int, keep: float, stays: tuple[int, ...]) -> None:
    """Every other one of half, and one at the least."""
    assert evenly(layers, keep) == stays


def test_each_layer_is_left_out_as_often_as_asked() -> None:
    """By the step alone; the model has all of them again afterwards."""
    model = small_encoder("bert", "classification")
    every, regime = list(model.layers), LayerDrop(model, 0.3)
    out = torch.zeros(4)
    for number in range(400):
        with regime.applied(Step(number, 400, 7, 1e-4)):
            there = {layer.index for layer in model.layers}
        with regime.applied(Step(number, 400, 7, 1e-4)):
            assert there == {layer.index for layer in model.layers}
        out += torch.tensor([layer not in there for layer in range(4)])
        assert list(model.layers) == every
    assert ((out / 400 - 0.3).abs() < 0.08).all()


def test_what_is_left_out_learns_nothing_in_that_step() -> None:
    """And what is there does."""
    dense = small_encoder("bert", "classification")
    student = copy.deepcopy(dense)
    regime = LayerDrop(student, 0.5)
    trainer = Trainer(student, Teacher(dense, features()), features(), LABEL, Schedule(epochs=1, tokens=96), [regime])
    with regime.applied(Step(0, trainer.steps, 0, 1e-4)):
        there = {layer.index for layer in student.layers}
    assert 0 < len(there) < 4
    trainer.run(1)
    for layer, before in zip(student.layers, dense.layers, strict=True):
        same = [torch.equal(a, b) for a, b in zip(layer.parameters(), before.parameters(), strict=True)]
        assert all(same) == (layer.index not in there)


def test_a_run_is_resumed_and_its_artifact_answers(tmp_path: Path, texts: Path) -> None:
    """Both trainings are kept; the share that whole layers come to is told."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="layerdrop", keep=0.4)
    artifact, heard = resumed(config)
    assert "taken over from a stopped run: finetuned, shaped" in heard.notes
    assert "50.0% of the weights are kept where 40.0% was asked: layerdrop removes whole parts" in heard.warnings
    assert open_artifact(tmp_path / "small").manifest.provenance["settings"]["layer_drop"] == 0.2
    assert Plan.from_json(artifact.plan.read_text("utf-8")).dropped_layers == (1, 3)
    answer = pgb_core.load(tmp_path / "small")("a very good film")
    assert sum(one["score"] for one in answer) == pytest.approx(1, abs=1e-3)
