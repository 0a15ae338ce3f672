"""Head importance: the score, and a run from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pgb_core
from pgb_core.artifact import open_artifact
from pgb_core.errors import PlanError
from pgb_core.learn.gates import gated, importance_of_units
from pgb_core.pipeline import compress
from pgb_core.search.units import Units
from pgb_core.tasks.features import collate
from tests.conftest import TASKS, small_encoder
from tests.core.small import checkpoint, resumed, settings
from tests.core.test_training import OBJECTIVES, features
from tests.reports import Heard


@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_the_loss_change_of_a_gate_in_each_sample(task: str) -> None:
    """Against central differences of the loss, sample by sample; what is gone already has none."""
    model = small_encoder("bert", task).double()
    data, objective = features(4, task=task), OBJECTIVES[task]
    kept = Units(torch.ones(4, 6, dtype=torch.bool), torch.ones(4, 384, dtype=torch.bool))
    kept.heads[1, 2] = False
    kept.neurons[3, 7] = False
    found = importance_of_units(model, [collate(data, 0)], objective, 0, kept)

    def wanted(layer: int, head: int | None, neuron: int | None) -> float:
        total = 0.0
        for row in range(len(data)):
            changed = 0.0
            for sign in (1, -1):
                heads, neurons = kept.heads.double(), kept.neurons.double()
                if head is not None:
                    heads[layer, head] += sign * 1e-4
                if neuron is not None:
                    neurons[layer, neuron] += sign * 1e-4
                batch = collate(data[row : row + 1], 0)
                assert batch.targets is not None
                with torch.no_grad(), gated(model, list(heads), list(neurons)):
                    logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
                    one = objective.loss(logits, batch.targets, batch.attention_mask.bool(), "sum")
                changed += sign * float(one)
            total += abs(changed) / 2e-4
        return total

    for layer, head in ((0, 0), (1, 5), (3, 1)):
        assert float(found.heads[layer, head]) == pytest.approx(wanted(layer, head, None), rel=1e-3)
    for layer, neuron in ((0, 3), (3, 200)):
        assert float(found.neurons[layer, neuron]) == pytest.approx(wanted(layer, None, neuron), rel=1e-3)
    assert float(found.heads[1, 2]) == float(found.neurons[3, 7]) == 0
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_run_is_resumed_and_its_artifact_answers(tmp_path: Path, texts: Path) -> None:
    """Plan, compensation and re-finetuning are kept."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="michel", keep=0.25)
    _, heard = resumed(config)
    assert "taken over from a stopped run: compensated, finetuned, plan" in heard.notes
    manifest = open_artifact(tmp_path / "small").manifest
    assert manifest.weights["kept"] / manifest.weights["dense"] == pytest.approx(0.25, abs=0.01)
    assert manifest.provenance["settings"]["share_per_round"] == 0.1
    answer = pgb_core.load(tmp_path / "small")("a very good film")
    assert sum(one["score"] for one in answer) == pytest.approx(1, abs=1e-3)


def test_heads_alone_are_refused_where_they_are_too_few(tmp_path: Path, texts: Path) -> None:
    """Before any work, with what would do."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    config = settings(model, tmp_path / "small", texts, method="michel", structure="heads", keep=0.4)
    with pytest.raises(PlanError, match=r"68.1% of the weights stay .* asks for 40.0%; use --structure units"):
        compress(config)


@pytest.mark.parametrize(
    "given",
    [
        {"method": "michel"},
        {"method": "voita"},
        {"method": "magnitude"},
        {"method": "magnitude", "schedule": "cubic"},
        {"method": "movement"},
        {"method": "proximal"},
    ],
)
def test_a_size_that_keeps_nothing_is_refused_before_any_work(
    given: dict[str, object], tmp_path: Path, texts: Path
) -> None:
    """A model of which nothing is left would answer alike whatever it reads."""
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 24}
    model, told = checkpoint(tmp_path / "model", "bert", "classification", **shape), Heard()
    config = settings(model, tmp_path / "small", texts, keep=0.01, **given)
    with pytest.raises(PlanError, match=r"no head fits into 1.0% of the encoder; use --keep 0.572 or more"):
        compress(config, told)
    assert told.stages[-1].startswith(("Reading the data", "Trying the model on the labels of "))
