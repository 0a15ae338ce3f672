"""The compact model as a PyTorch module, from an artifact, to be trained on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pgb_core
from examples import train_on
from pgb_core.artifact import open_artifact
from pgb_core.errors import ArtifactError
from pgb_core.inference.batches import prepare_texts
from pgb_core.inference.runtimes.base import pad
from pgb_core.inference.tokenizer import Tokenizer
from tests.made import Make


@pytest.mark.parametrize("task", ["classification", "qa"])
def test_it_gives_the_logits_of_the_artifact_and_can_be_trained(make: Make, task: str) -> None:
    """From the service's tokens; every weight has a gradient to follow."""
    artifact = make("bert", task)
    model = pgb_core.module(artifact.path)
    tokenizer = Tokenizer.open(artifact.tokenizer, artifact.manifest.max_length)
    tokens = prepare_texts(tokenizer, [("who sang the song", "the town sang it")])
    logits = model(**{name: torch.from_numpy(each) for name, each in pad(tokens, artifact.manifest.pad_id).items()})
    with pgb_core.load(artifact.path, "fp32", threads=1) as loaded:
        (wanted,) = loaded.runtime.run(tokens)
    assert torch.allclose(logits[0], torch.from_numpy(wanted), atol=1e-4)
    logits.square().sum().backward()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert sum(parameter.grad is not None for parameter in model.parameters()) > 20


def test_without_its_tensors_there_is_no_module(make: Make) -> None:
    """The message says how there would be."""
    with pytest.raises(ArtifactError, match="compress again with --forms fp32,torch"):
        pgb_core.module(make(forms=("fp32",)).path)


def test_the_example_trains_on(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The loss falls, and the tensors that it writes are those of the module."""
    artifact = open_artifact(make("bert").path)
    labels = artifact.manifest.labels
    rows = tmp_path / "rows.jsonl"
    lines = [{"text": f"the film was {word}", "label": labels[n % 2]} for n, word in enumerate(("good", "bad") * 6)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "trained.safetensors"
    train_on.main([str(artifact.path), str(rows), "--out", str(out), "--steps", "12", "--rate", "1e-3"])
    before, after = map(float, capsys.readouterr().out.split(";")[0].removeprefix("loss ").split(" -> "))
    assert after < 0.8 * before
    model = pgb_core.module(artifact.path)
    assert model.load_state_dict(load_file(out)).missing_keys == []


def test_pytorch_is_asked_for_only_here(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the artifact answers, and the module is refused by the name of what is missing."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "pgb_core.model.rebuild", raising=False)
    with pytest.raises(ImportError, match="torch"):
        pgb_core.module(make().path)
