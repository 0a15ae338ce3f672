"""Adapters that PEFT wrote, as checkpoints: with their base they answer as PEFT's own model does, or are refused."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from pgb_core.artifact import open_artifact
from pgb_core.checkpoints import weights
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.errors import CheckpointError, ParityError, ResourceError
from pgb_core.gate import gate
from pgb_core.pipeline import compress
from tests.core.small import changed, checkpoint

peft = pytest.importorskip("peft", reason="peft is not installed; pip install '.[peft]'")
pytestmark = pytest.mark.filterwarnings("ignore")

KINDS = {"classification": "SEQ_CLS", "qa": "QUESTION_ANS"}
AUTO = {
    "classification": transformers.AutoModelForSequenceClassification,
    "qa": transformers.AutoModelForQuestionAnswering,
}
TARGETS = ["query", "value", "q_lin", "v_lin"]
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def base(folder: Path, architecture: str = "bert", task: str = "classification", **changes: object) -> Path:
    """A checkpoint without a head, as pre-training leaves it."""
    made = checkpoint(folder, architecture, task, **changes)
    AUTO[task].from_pretrained(made).base_model.save_pretrained(made)
    return made


def adapter(
    folder: Path, on: Path, task: str = "classification", labels: int = 3, kind: Any = None, tokens: int = 0, **how: Any
) -> tuple[Path, Any]:
    """A trained adapter and PEFT's model of it; its weights are large enough to change every answer."""
    torch.manual_seed(5)
    sizes = {"num_labels": labels} if task == "classification" else {}
    model = AUTO[task].from_pretrained(on, ignore_mismatched_sizes=True, **sizes)
    if tokens:
        model.resize_token_embeddings(tokens)
    settings = {"task_type": KINDS[task], "target_modules": TARGETS, **how}
    wrapped = peft.get_peft_model(model, (kind or peft.LoraConfig)(**settings)).eval()
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    wrapped.save_pretrained(folder)
    return folder, wrapped


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound adapter for a base without a head; made once."""
    folder = tmp_path_factory.mktemp("sound")
    return adapter(folder / "adapter", base(folder / "base"))[0]


@pytest.fixture
def sound(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return shutil.copytree(made, tmp_path / "adapter")


def same(found: Any, wanted: Any) -> None:
    """Our merged model gives the logits of PEFT's."""
    ids = torch.randint(5, 20, (2, 9))
    with torch.no_grad():
        said, ours = wanted(input_ids=ids, attention_mask=torch.ones_like(ids)), found.model(ids)
    logits = said.logits if "logits" in said else torch.stack([said.start_logits, said.end_logits], -1)
    torch.testing.assert_close(ours, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])
def test_an_adapter_answers_as_peft_does(architecture: str, task: str, tmp_path: Path) -> None:
    """Through the gate, whose reference is transformers with the adapter's layers, not merged."""
    folder, wanted = adapter(tmp_path / "adapter", base(tmp_path / "base", architecture, task), task)
    found = load_checkpoint(folder, probed=True)
    same(found, wanted)
    assert found.task.name == task
    assert gate(found).inputs > 20
    assert any("merged into its base" in note for note in found.notes)
    if task == "classification":
        assert found.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
        assert any("with id2label (and problem_type) beside it" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("LoraConfig", {"use_dora": True}),
        ("LoraConfig", {"use_rslora": True, "bias": "all", "modules_to_save": ["pooler"]}),
        ("LoraConfig", {"target_modules": "all-linear", "rank_pattern": {"query": 3}}),
        ("IA3Config", {"feedforward_modules": []}),
    ],
)
def test_every_kind_that_peft_merges_is_right(kind: str, how: dict[str, Any], tmp_path: Path) -> None:
    """DoRA, other scales, biases and whole modules; the gate would refuse what merging loses."""
    folder, wanted = adapter(tmp_path / "adapter", base(tmp_path / "base"), kind=getattr(peft, kind), **how)
    found = load_checkpoint(folder, probed=True)
    same(found, wanted)
    gate(found)


def test_a_merge_that_loses_the_adapter_is_refused(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate holds the merged weights against the adapter's layers beside the base's."""
    monkeypatch.setattr(weights, "merged", lambda wrapped, _: copy.deepcopy(wrapped).unload())
    with pytest.raises(ParityError, match="differs from transformers"):
        gate(load_checkpoint(sound, probed=True))


def test_the_head_is_the_adapter_s_though_the_base_has_one(tmp_path: Path) -> None:
    """Of another number of labels, or of the same; labels are not taken from the base without a word."""
    on = checkpoint(tmp_path / "base", "bert", "classification", id2label={0: "no", 1: "yes"})
    for labels in (3, 2):
        folder, wanted = adapter(tmp_path / str(labels), on, labels=labels)
        found = load_checkpoint(folder)
        same(found, wanted)
        head = load_file(folder / WEIGHTS)["base_model.model.classifier.weight"]
        assert torch.equal(found.model.state_dict()["head.output.weight"], head)
        assert len(found.labels) == labels
        assert bool(found.warnings)
    assert found.labels == ("no", "yes")
    assert any("labels are named as in the base" in warning for warning in found.warnings)


def test_a_config_beside_the_adapter_names_the_labels(sound: Path) -> None:
    """And the kind of problem; as many as the head has, of the same model type."""
    names = {"0": "bad", "1": "fair", "2": "good"}
    path = sound / "config.json"
    path.write_text(json.dumps({"id2label": names, "problem_type": "multi_label_classification"}))
    found = load_checkpoint(sound)
    assert found.labels == ("bad", "fair", "good")
    assert found.problem_type == "multi_label_classification"
    assert not any("label" in warning for warning in found.warnings)
    path.write_text(json.dumps({"id2label": {"0": "bad"}}))
    with pytest.raises(CheckpointError, match="must name the 3 labels"):
        load_checkpoint(sound)
    path.write_text(json.dumps({"model_type": "roberta"}))
    with pytest.raises(CheckpointError, match="another model type than its base"):
        load_checkpoint(sound)


def test_the_kind_of_problem_is_not_taken_from_the_base_without_a_word(tmp_path: Path) -> None:
    """Where the adapter brings a head of its own; a config.json beside it says what that is for."""
    on = checkpoint(tmp_path / "base", "bert", "classification", problem_type="multi_label_classification")
    folder, _ = adapter(tmp_path / "adapter", on, labels=3)
    found = load_checkpoint(folder)
    assert found.problem_type == "multi_label_classification"
    doubt = "the kind of problem, multi_label_classification, is that of the base's config.json"
    assert any(doubt in warning for warning in found.warnings)
    (folder / "config.json").write_text(json.dumps({"problem_type": "single_label_classification"}))
    found = load_checkpoint(folder)
    assert found.problem_type == "single_label_classification"
    assert not any("kind of problem" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("labels", "trained", "said"),
    [
        (1, "regression", "its one output is read as a probability, by sigmoid"),
        (3, "multi_label_classification", "it is read as picking one of 3 labels, by softmax"),
    ],
)
def test_a_kind_of_problem_that_no_file_names_is_doubted(labels: int, trained: str, said: str, tmp_path: Path) -> None:
    """PEFT saves no config.json; one beside the adapter, or the base's, ends the doubt."""
    folder, _ = adapter(tmp_path / "adapter", base(tmp_path / "base"), labels=labels)
    assert any(said in warning and "with problem_type beside the adapter" in warning for warning in _warned(folder))
    (folder / "config.json").write_text(json.dumps({"id2label": {str(n): f"name {n}" for n in range(labels)}}))
    assert any(said in warning for warning in _warned(folder))
    (folder / "config.json").write_text(json.dumps({"problem_type": trained}))
    assert not any("kind of problem" in warning for warning in _warned(folder))
    (folder / "config.json").unlink()
    changed(tmp_path / "base" / "config.json", problem_type="single_label_classification")
    assert not any("kind of problem" in warning for warning in _warned(folder))


def _warned(folder: Path) -> tuple[str, ...]:
    return load_checkpoint(folder).warnings


def test_tokens_that_were_added_in_training_have_their_rows(tmp_path: Path) -> None:
    """The adapter brings the table and the tokenizer; those of the base are smaller."""
    on = base(tmp_path / "base")
    folder, wanted = adapter(tmp_path / "adapter", on, tokens=44)
    spec = json.loads((on / "tokenizer.json").read_text())
    flags = {"special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    spec["model"]["vocab"] |= {f"word{n}": n for n in range(len(spec["model"]["vocab"]), 44)}
    spec["added_tokens"].append({"id": 43, "content": "word43", **flags})
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    shutil.copy(on / "tokenizer_config.json", folder)
    found = load_checkpoint(folder, probed=True)
    same(found, wanted)
    gate(found)
    assert found.model.config.vocab == 44
    assert found.tokenizer.encode("word43").ids.count(43) == 1


def test_an_artifact_is_made_of_an_adapter(tmp_path: Path) -> None:
    """A checkpoint of a Trainer, with its pickles beside; the same as of the merged checkpoint."""
    on = base(tmp_path / "base")
    folder, wanted = adapter(tmp_path / "run" / "checkpoint-7", on)
    for name in ("training_args.bin", "optimizer.pt", "adapter_model.bin"):
        (folder / name).write_bytes(pickle.dumps(_Trap()))
    merged = wanted.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(on / name, tmp_path / "merged")
    compress(CompressConfig(checkpoint=str(folder), out=str(tmp_path / "out"), keep=1.0, device="cpu", forms="fp32"))
    manifest, whole = open_artifact(tmp_path / "out").manifest, load_checkpoint(tmp_path / "merged")
    assert manifest.provenance["checkpoint_sha256"] == whole.digest
    assert manifest.labels == whole.labels


class _Trap:
    """A pickle that ends the test when it is read."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was read",)


def test_a_base_may_be_a_model_that_gives_vectors(tmp_path: Path) -> None:
    """Only its encoder is read; quantised weights are refused there, too."""
    on = base(tmp_path / "base")
    (on / "modules.json").write_text("[]")
    folder, wanted = adapter(tmp_path / "adapter", on)
    same(load_checkpoint(folder), wanted)
    (on / "quantize_config.json").write_text('{"bits": 4}')
    with pytest.raises(CheckpointError, match="quantised"):
        load_checkpoint(folder)


def test_a_base_on_the_hub_is_asked_for_by_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub's cache gives is read as a directory is. The hub itself is asked for nothing but what was named."""
    folder, wanted = adapter(tmp_path / "adapter", base(tmp_path / "base"))
    _edit(folder, base_model_name_or_path="someone/base", revision="v2")
    asked: list[object] = []

    def snapshot(name: str, revision: str | None, local_files_only: bool, **_: object) -> str:
        asked.append((name, revision, local_files_only))
        return str(tmp_path / "base") if name == "someone/base" else str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    same(load_checkpoint(folder), wanted)
    assert asked == [("someone/base", "v2", True)]
    same(load_checkpoint("someone/adapter"), wanted)
    assert asked[1:] == [("someone/adapter", None, False), ("someone/base", "v2", True)]


def test_a_base_that_is_not_in_the_cache_is_not_fetched(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's own client, with an empty cache, opens no connection; the message has the revision."""
    from huggingface_hub import constants

    def connect(*_: object, **__: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    _edit(sound, base_model_name_or_path="someone/base", revision="v2")
    with pytest.raises(CheckpointError, match="hf download someone/base --revision v2") as refused:
        load_checkpoint(sound)
    assert "in the hub's cache" in str(refused.value.__cause__)


def test_a_base_that_is_absent_is_named_with_what_to_do(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is gone, a name that the hub does not give, no name at all."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def snapshot(*_: object, **__: object) -> str:
        raise OSError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    for name in (str(tmp_path / "gone"), "someone/base"):
        _edit(sound, base_model_name_or_path=name)
        with pytest.raises(CheckpointError, match=f"whose base {name} is not here; name its directory in base_model"):
            load_checkpoint(sound)
    _edit(sound, base_model_name_or_path=None)
    with pytest.raises(CheckpointError, match="base_model_name_or_path is missing"):
        load_checkpoint(sound)


def test_without_peft_the_extra_is_named(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter alone needs it."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ResourceError, match=r"peft is not installed; pip install '\.\[peft\]'"):
        load_checkpoint(sound)
    checkpoint(tmp_path / "plain", "bert", "classification")
    assert load_checkpoint(tmp_path / "plain").labels


def test_a_head_that_nobody_saved_is_refused(tmp_path: Path) -> None:
    """A base for masked words has no pooler, which PEFT does not save unless it is told."""
    on = checkpoint(tmp_path / "base", "bert", "classification")
    transformers.BertForMaskedLM.from_pretrained(on).save_pretrained(on)
    folder, _ = adapter(tmp_path / "a", on)
    with pytest.raises(
        CheckpointError, match=r"has bert\.pooler\.dense\.bias; train .* 'bert\.pooler\.dense' in modules"
    ):
        load_checkpoint(folder)
    folder, wanted = adapter(tmp_path / "b", on, modules_to_save=["pooler"])
    same(load_checkpoint(folder), wanted)
    folder, _ = adapter(tmp_path / "c", base(tmp_path / "other"))
    _edit(folder, task_type=None)
    with pytest.raises(CheckpointError, match="does not name the task it was trained for; give --task"):
        load_checkpoint(folder)
    assert load_checkpoint(folder, "classification").labels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: _without(state, "classifier"), r"neither the adapter nor its base .* has classifier\.bias"),
        (lambda state: _without(state, "query.lora_B"), "which adapter_config.json asks for"),
        (lambda state: state | {"base_model.model.x.lora_A.weight": torch.zeros(2, 2)}, "is that the base that it was"),
        (lambda state: {k: v[:1].clone() if "lora_A" in k else v for k, v in state.items()}, "peft cannot put it on"),
        (lambda state: {k: v.to(torch.int8) for k, v in state.items()}, "only floating-point weights"),
        (lambda state: {k: v * float("nan") for k, v in state.items()}, "NaN|cannot be merged"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], said: str, sound: Path
) -> None:
    """Missing, superfluous, of other shapes, quantised or damaged."""
    save_file(change(load_file(sound / WEIGHTS)), sound / WEIGHTS)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(sound)


def test_a_head_is_not_the_base_s_where_the_adapter_says_that_it_saved_one(tmp_path: Path) -> None:
    """Though the base has one, which would fit."""
    folder, _ = adapter(tmp_path / "adapter", checkpoint(tmp_path / "base", "bert", "classification"), labels=2)
    save_file(_without(load_file(folder / WEIGHTS), "classifier"), folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"has no classifier\.(weight|bias), which adapter_config\.json asks for"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task_type": "TOKEN_CLS"}, "which labels every token"),
        ({"task_type": "CAUSAL_LM"}, "which writes text"),
        ({"task_type": "FEATURE_EXTRACTION"}, "which has no head for a task"),
        ({"peft_type": "NO_SUCH"}, "peft cannot put it on its base"),
        ({"a_setting_of_tomorrow": 2}, "a_setting_of_tomorrow, which the peft that is installed does not know"),
        ({"megatron_config": {"x": 1}}, "megatron_config is set"),
        ({"r": "four"}, "peft cannot put it on its base"),
        ({"task_type": ["SEQ_CLS"]}, "does not name the task"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(settings: dict[str, Any], said: str, sound: Path) -> None:
    """Before a weight is changed."""
    _edit(sound, **settings)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(sound)


def test_a_kind_that_adds_tokens_is_refused(tmp_path: Path) -> None:
    """It has nothing to merge."""
    on = base(tmp_path / "base")
    model = AUTO["classification"].from_pretrained(on)
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    peft.get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="PROMPT_TUNING adds to the input, so it cannot be merged"):
        load_checkpoint(tmp_path / "adapter")


def test_a_pickle_and_an_adapter_of_an_adapter_are_refused(sound: Path, tmp_path: Path) -> None:
    """The pickle is not opened."""
    other = shutil.copytree(sound, tmp_path / "other")
    _edit(other, base_model_name_or_path=str(sound))
    with pytest.raises(CheckpointError, match="is an adapter, too"):
        load_checkpoint(other)
    (sound / WEIGHTS).unlink()
    (sound / "adapter_model.bin").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(CheckpointError, match=r"adapter_model\.bin is a pickle, which is never read"):
        load_checkpoint(sound)


def _edit(folder: Path, **changes: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _without(state: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if part not in name}
