"""A model from an artifact's plan and weights, and the inputs with which an artifact checks itself."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from pgb_core.artifact import CHECK, PLAN, WEIGHTS, Artifact, write_artifact
from pgb_core.checkpoints.load import Checkpoint, load_checkpoint
from pgb_core.errors import ArtifactError
from pgb_core.export import probes, write
from pgb_core.inference.batches import run_all
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.model.predict import torch_predictor
from pgb_core.model.rebuild import encoder_of
from pgb_core.model.surgery import apply_plan, merge_groups
from pgb_core.tasks.features import Features
from tests.conftest import ARCHITECTURES, TASKS
from tests.core.planned import dense_plan, hand_plan, nested_plan, random_plan
from tests.core.small import checkpoint

PLANS = {
    "dense": dense_plan,
    "hand": hand_plan,
    "nested": nested_plan,
    "disjoint": lambda model: random_plan(model, 0.3, "disjoint"),
}
FORMS = ("fp32", "torch")


def made(folder: Path, architecture: str, task: str, plan: str, **how: object) -> tuple[Checkpoint, Encoder, Artifact]:
    """A checkpoint, its compact model, and the artifact of that."""
    loaded = load_checkpoint(checkpoint(folder / "model", architecture, task))
    chosen = PLANS[plan](loaded.model)
    model = apply_plan(loaded.model, chosen).eval()
    return loaded, model, write.write(folder / "out", write.Made(loaded, model, chosen, **how))  # type: ignore[arg-type]


def logits(model: Encoder, ids: torch.Tensor) -> torch.Tensor:
    """Without padding."""
    with torch.no_grad():
        found: torch.Tensor = model(ids, torch.ones_like(ids), torch.zeros_like(ids))
    return found


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_read_back_is_what_was_written(architecture: str, task: str, plan: str, tmp_path: Path) -> None:
    """To the bit; and merging its groups changes nothing but the order of additions."""
    _, model, artifact = made(tmp_path, architecture, task, plan, forms=FORMS)
    read = encoder_of(artifact)
    ids = torch.randint(5, 30, (3, 21))
    assert torch.equal(logits(read, ids), logits(model, ids))
    merge_groups(read)
    assert all(m.product.one_block for m in read.modules() if isinstance(m, GroupedLinear))
    assert torch.allclose(logits(read, ids), logits(model, ids), atol=1e-5)


def test_a_file_that_is_written_over_changes_no_model_that_was_read_from_it(tmp_path: Path) -> None:
    """As `cp` writes over it, while the model is served."""
    _, model, artifact = made(tmp_path, "bert", "classification", "hand", forms=FORMS)
    read = encoder_of(artifact)
    with (artifact.path / WEIGHTS).open("r+b") as file:
        file.write(bytes((artifact.path / WEIGHTS).stat().st_size))
    ids = torch.randint(5, 30, (3, 21))
    assert torch.equal(logits(read, ids), logits(model, ids))


def test_weights_that_do_not_say_how_wide_their_tables_are_have_the_stream_s_width(tmp_path: Path) -> None:
    """As all had when none said so."""
    _, model, artifact = made(tmp_path, "bert", "qa", "hand", forms=FORMS)
    files = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files}
    config = {name: value for name, value in asdict(model.config).items() if name != "embedding"}
    files[WEIGHTS] = save(load(files[WEIGHTS]), {"encoder": json.dumps(config)})
    earlier = write_artifact(tmp_path / "earlier", replace(artifact.manifest, files={}), files)
    assert encoder_of(earlier).config == model.config


def test_without_weights_there_is_nothing_to_read(tmp_path: Path) -> None:
    """And the message says how there would be."""
    with pytest.raises(ArtifactError, match="compress again with --forms fp32,torch"):
        encoder_of(made(tmp_path, "bert", "classification", "hand")[2])


def test_weights_that_do_not_fit_the_plan_are_refused(tmp_path: Path) -> None:
    """Whichever of the two is not what it was."""
    loaded, _, artifact = made(tmp_path, "bert", "classification", "hand", forms=FORMS)
    files = {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files}
    tensors = load(files[WEIGHTS])
    config = {"encoder": json.dumps(asdict(loaded.model.config))}
    changes = {
        "cut short": {WEIGHTS: files[WEIGHTS][:-8]},
        "without a tensor": {WEIGHTS: save(dict(list(tensors.items())[1:]), config)},
        "without a configuration": {WEIGHTS: save(tensors)},
        "beside another plan": {PLAN: dense_plan(loaded.model).to_json().encode()},
        "beside a plan for another shape": {PLAN: files[PLAN].replace(b"384", b"385")},
    }
    for change in changes.values():
        spoilt = write_artifact(tmp_path / "spoilt", replace(artifact.manifest, files={}), {**files, **change})
        with pytest.raises(ArtifactError, match="does not fit the plan; make the artifact again"):
            encoder_of(spoilt)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_artifact_carries_inputs_with_the_model_s_logits(architecture: str, task: str, tmp_path: Path) -> None:
    """Of several lengths, as the tokenizer would begin and end them, the same each time."""
    loaded, model, artifact = made(tmp_path, architecture, task, "hand")
    given = json.loads(artifact.check("fp32").read_text())["inputs"]
    assert [len(entry["ids"]) for entry in given] == list(probes.LENGTHS)
    ends = loaded.tokenizer.encode("").ids
    assert all([entry["ids"][0], entry["ids"][-1]] == ends for entry in given)
    assert all(loaded.model.config.pad_id not in entry["ids"] for entry in given)
    assert len({n for entry in given for n in entry["ids"]}) > 10
    assert all(max(entry["types"]) == int(loaded.model.config.types > 1) for entry in given)
    features = [Features(entry["ids"], entry["types"], None, row) for row, entry in enumerate(given)]
    found = run_all(torch_predictor(model), [feature.tokens for feature in features], batch_tokens=1)
    for entry, row in zip(given, found, strict=True):
        assert torch.allclose(torch.tensor(entry["logits"]), torch.from_numpy(row), atol=1e-5)
    again = made(tmp_path, architecture, task, "hand")[2]
    assert again.manifest.files[CHECK] == artifact.manifest.files[CHECK]


def test_inputs_are_no_longer_than_the_model_takes(tmp_path: Path) -> None:
    """However short that is."""
    loaded = load_checkpoint(checkpoint(tmp_path / "model", "bert", "qa", max_position_embeddings=10))
    found = probes.made_up(loaded.tokenizer, loaded.model.config)
    assert [len(feature.ids) for feature in found] == [4, 10, 10]
