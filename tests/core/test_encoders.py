"""Loading: equal to transformers for every architecture, and clear about what it refuses."""

import json
import os
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.errors import CheckpointError
from tests.conftest import ARCHITECTURES, TASKS, hf_config

AUTO = {
    "classification": transformers.AutoModelForSequenceClassification,
    "qa": transformers.AutoModelForQuestionAnswering,
}


def save(folder: Path, architecture: str, task: str, **changes: object) -> transformers.PreTrainedModel:
    """A random checkpoint as transformers writes it."""
    torch.manual_seed(1)
    model = AUTO[task].from_config(hf_config(architecture, **changes)).eval()
    model.save_pretrained(folder)
    Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]")).save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return model


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_encoder_equals_transformers(architecture: str, task: str, tmp_path: Path) -> None:
    """Same logits on padded input, for every architecture and both tasks."""
    theirs = save(tmp_path, architecture, task)
    loaded = load_checkpoint(tmp_path)
    ids = torch.randint(5, 400, (3, 19))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    ids[1, 7:] = theirs.config.pad_token_id
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=mask)
        ours = loaded.model(ids, mask)
    if task == "qa":
        wanted = torch.stack([found.start_logits, found.end_logits], -1)[mask.bool()]
        ours = ours[mask.bool()]
    else:
        wanted = found.logits
    assert loaded.task.name == task
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("width", [24, 96])
def test_electra_s_tables_are_as_wide_as_its_config_says(width: int, task: str, tmp_path: Path) -> None:
    """Narrow ones have a map to the stream, those of the stream's width none; both answer as transformers does."""
    theirs = save(tmp_path, "electra", task, embedding_size=width, initializer_range=0.2)
    model = load_checkpoint(tmp_path).model
    assert model.embeddings.word.weight.shape == (400, width)
    assert (model.embeddings.projection is None) == (width == 96)
    ids, types = torch.randint(5, 400, (2, 3, 19)).unbind()
    types = types % 2
    with torch.no_grad():
        found = theirs(input_ids=ids, token_type_ids=types)
        wanted = found.logits if task == "classification" else torch.stack([found.start_logits, found.end_logits], -1)
        torch.testing.assert_close(model(ids, None, types), wanted, rtol=1e-5, atol=1e-5)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """NaN weights are named."""
    model = save(tmp_path, "bert", "qa")
    with torch.no_grad():
        model.bert.encoder.layer[1].output.dense.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"layer\.1\.output\.dense\.weight holds NaN"):
        load_checkpoint(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """A directory, a config, weights: each absence has its own words."""
    with pytest.raises(CheckpointError, match="no such directory; check the path"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="'gpt2' is not supported"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    for named, said in (
        (["BertModel"], "is BertModel, which has no head for a task"),
        (["BertForTokenClassification"], "is BertForTokenClassification, which labels every token"),
        (["BertForMaskedLM"], "which fills in masked words"),
        (["BertForPreTraining"], "which was pre-trained only"),
        ([], "does not name the task it was trained for; give --task"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": named}))
        with pytest.raises(CheckpointError, match=said):
            load_checkpoint(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="pickled weights are not read"):
        load_checkpoint(tmp_path, "qa")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("modules.json", "is a sentence-transformers model"),
        ("sentence_bert_config.json", "is a sentence-transformers model"),
        ("model_head.pkl", "is a SetFit model, whose head is a pickle"),
        ("config_setfit.json", "is a SetFit model"),
    ],
)
def test_a_directory_of_another_kind_is_named(name: str, said: str, tmp_path: Path) -> None:
    """Though it has a config and weights; a SetFit directory has the files of both kinds."""
    save(tmp_path, "bert", "classification")
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / name).write_text("[]")
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path)


def test_a_head_of_another_task_is_refused(tmp_path: Path) -> None:
    """A QA checkpoint cannot be loaded for classification with a random head."""
    save(tmp_path, "bert", "qa")
    with pytest.raises(CheckpointError, match="not fine-tuned for classification"):
        load_checkpoint(tmp_path, "classification")


def test_the_digest_follows_the_weights(tmp_path: Path) -> None:
    """Equal weights, equal digest; one changed weight, another."""
    model = save(tmp_path, "distilbert", "classification")
    first, second = load_checkpoint(tmp_path).digest, load_checkpoint(tmp_path).digest
    with torch.no_grad():
        model.classifier.bias[0] += 1
    model.save_pretrained(tmp_path)
    assert first == second != load_checkpoint(tmp_path).digest


def test_a_path_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    """The reader of weights would call the file damaged."""
    save(tmp_path / "model", "bert", "qa")
    odd = (tmp_path / "model").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(CheckpointError, match="the path is no text in UTF-8"):
        load_checkpoint(odd)
