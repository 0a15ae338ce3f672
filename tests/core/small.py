"""Small random checkpoints and quick settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pgb_core.artifact import Artifact
from pgb_core.config import CompressConfig
from pgb_core.pipeline import compress
from tests.conftest import hf_config
from tests.reports import Heard

# Read the file as it is: by itself the architecture's own kind of tokenizer would be made of these words.
_NAMES = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
_OTHERS = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "[UNK]"}
_TYPED = ["input_ids", "token_type_ids", "attention_mask"]
SETTINGS = {
    "bert": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": _TYPED,
        **_NAMES,
    },
    "electra": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": _TYPED,
        **_NAMES,
    },
    "distilbert": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        **_NAMES,
    },
    "roberta": {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        **_OTHERS,
    },
}
_OF_ROBERTA = ("roberta", "xlm-roberta", "camembert")
SETTINGS |= dict.fromkeys(_OF_ROBERTA, SETTINGS["roberta"])
WORDS = ["the", "a", "film", "was", "very", "good", "bad", "dull", "fine"]
WORDS += ["and", "not", "who", "sang", "where", "it", "began", "town", "song"]


def checkpoint(folder: Path, architecture: str, task: str, **changes: object) -> Path:
    """A small random checkpoint with a tokenizer of a few words."""
    torch.manual_seed(2)
    auto = transformers.AutoModelForSequenceClassification if task == "classification" else None
    auto = auto or transformers.AutoModelForQuestionAnswering
    config = hf_config(architecture, **({"vocab_size": 40, "initializer_range": 0.2} | changes))
    auto.from_config(config).save_pretrained(folder)
    special = ["<s>", "<pad>", "</s>", "[UNK]"] if architecture in _OF_ROBERTA else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: n for n, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    first, last = (("<s>", 0), ("</s>", 2)) if architecture in _OF_ROBERTA else (("[CLS]", 2), ("[SEP]", 3))
    build = processors.RobertaProcessing if architecture in _OF_ROBERTA else processors.BertProcessing
    tokenizer.post_processor = build(last, first)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(SETTINGS[architecture]))
    return folder


def changed(file: Path, **entries: object) -> None:
    """Other entries in a JSON file of a checkpoint."""
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | entries), "utf-8")


def padded_last(folder: Path) -> Path:
    """A small random checkpoint whose table has a row for each token, and the last one for padding."""
    last = len(WORDS) + 3
    checkpoint(folder, "bert", "classification", vocab_size=last + 1, pad_token_id=last)
    file = folder / "tokenizer.json"
    spec = json.loads(file.read_text("utf-8"))
    spec["model"]["vocab"] |= {"[PAD]": last, WORDS[-1]: 0}
    file.write_text(json.dumps(spec), "utf-8")
    return folder


def settings(model: Path, out: Path, data: Path, **changes: object) -> CompressConfig:
    """A quick run. The model as it is, with a share of 1, has the rows for ranges and is not trained."""
    quick: dict[str, object] = {
        "keep": 0.4,
        "epochs": 2.0,
        "samples": 64,
        "tokens": 256,
        "device": "cpu",
        "checkpoint_every": 3,
        "trust_labels": True,  # the models are random
        "forms": ("fp32",),
    }
    whole = changes.get("keep") == 1 and "method" not in changes
    if "method" not in changes and changes.get("structure") != "nested" and not whole:
        quick["passes"] = 2
    rows = "calibrate" if whole else "train"
    if whole or changes.get("epochs") == 0:
        for name in ("epochs", "tokens", "checkpoint_every"):
            quick.pop(name)
    return CompressConfig(checkpoint=str(model), out=str(out), **{rows: str(data)}, **(quick | changes))


def instead(words: Sequence[str], flag: str, value: str) -> list[str]:
    """A command line with another value of a flag, which may be given only once."""
    at = list(words).index(flag) + 1
    return [*words[:at], value, *words[at + 1 :]]


def resumed(config: CompressConfig, at: str = "pgb_core.pipeline.write") -> tuple[Artifact, Heard]:
    """The artifact of a run that was stopped and begun again, and what the second run said. at: the function whose call
    stops it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at, stop)
        with pytest.raises(KeyboardInterrupt):
            compress(config)
    heard = Heard()
    return compress(config, heard), heard
