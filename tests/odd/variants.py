"""Small checkpoints of many kinds, each a way in which real ones differ from the plainest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pgb_core.tasks.texts import SINGLE
from tests.conftest import hf_config

ROWS = 700  # of the embedding tables
_CORPUS = [
    *SINGLE,
    *(f"{a} {b}{c}" for a in ["the", "a", "One", "TWO", "film", "Film", "très"] for b in SINGLE for c in ".,!"),
]


@dataclass(frozen=True)
class Variant:
    """A checkpoint.

    settings: of tokenizer_config.json, None for no such file. tokenizer: changes tokenizer.json as read. files: removes
    or adds files. config: of the model. refused: what the refusal says, of those that must be refused.
    """

    name: str
    architecture: str = "bert"
    task: str = "classification"
    settings: dict[str, Any] | None = field(default_factory=dict)
    tokenizer: Callable[[dict[str, Any]], object] | None = None
    files: Callable[[Path], object] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    model: Callable[[Any], object] | None = None
    refused: str | None = None


_TOKENIZERS = {
    "bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}


@lru_cache
def word_pieces() -> str:
    """A tokenizer of BERT's kind, uncased, as a file's text."""
    found = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - a token of a vocabulary
    found.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    found.train_from_iterator(
        [*_CORPUS, *(text.lower() for text in _CORPUS)],
        trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False),
    )
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.decoder = decoders.WordPiece()
    ends = [(name, found.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    found.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    return str(found.to_str())


@lru_cache
def byte_pairs() -> str:
    """A tokenizer of RoBERTa's kind as a file's text."""
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return str(found.to_str())


@lru_cache
def unigrams(camembert: bool = False) -> str:
    """A tokenizer of XLM-RoBERTa's or CamemBERT's kind as a file's text, as SentencePiece's are converted.

    It has no table of characters: only SentencePiece itself makes those.
    """
    found = Tokenizer(models.Unigram())
    before = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    found.pre_tokenizer = pre_tokenizers.Sequence(before)
    found.decoder = decoders.Metaspace(prepend_scheme="always")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if camembert:
        special = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>"]
    found.train_from_iterator(
        _CORPUS,
        trainers.UnigramTrainer(
            vocab_size=600,
            special_tokens=special,
            unk_token="<unk>",  # noqa: S106 - a token of a vocabulary
            show_progress=False,
        ),
    )
    ends = [(name, found.token_to_id(name)) for name in ("<s>", "</s>")]
    found.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    return str(found.to_str())


def _file(architecture: str) -> str:
    """The tokenizer of an architecture as a file's text."""
    if architecture in ("xlm-roberta", "camembert"):
        return unigrams(architecture == "camembert")
    return byte_pairs() if architecture == "roberta" else word_pieces()


def build(variant: Variant, folder: Path, seed: int = 0) -> Path:
    """The checkpoint's directory; its weights are large enough for logits to differ."""
    torch.manual_seed(seed)
    auto = {
        "classification": transformers.AutoModelForSequenceClassification,
        "qa": transformers.AutoModelForQuestionAnswering,
    }[variant.task]
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    if variant.architecture == "distilbert":
        small = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
    sizes = {"vocab_size": ROWS, "initializer_range": 0.3, **small}
    model = auto.from_config(hf_config(variant.architecture, **{**sizes, **variant.config})).eval()
    if variant.model:
        variant.model(model)
    model.save_pretrained(folder)
    spec = json.loads(_file(variant.architecture))
    if variant.tokenizer:
        variant.tokenizer(spec)
    (folder / "tokenizer.json").write_text(json.dumps(spec, ensure_ascii=False), "utf-8")
    if variant.settings is not None:
        given = {"tokenizer_class": _TOKENIZERS[variant.architecture], "model_max_length": 512, **variant.settings}
        (folder / "tokenizer_config.json").write_text(json.dumps(given), "utf-8")
    if variant.files:
        variant.files(folder)
    return folder


def _normal(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda spec: spec["normalizer"].update(changes)


def _prefix(there: bool) -> Callable[[dict[str, Any]], object]:
    def change(spec: dict[str, Any]) -> None:
        spec["pre_tokenizer"]["add_prefix_space"] = there
        spec["post_processor"]["add_prefix_space"] = there

    return change


def _added(number: int | None = None, special: bool = False, content: str = "brandname") -> Callable[[Any], object]:
    def change(spec: dict[str, Any]) -> None:
        n = len(spec["model"]["vocab"]) if number is None else number
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
        spec["added_tokens"].append({"id": n, "content": content, "special": special, **flags})

    return change


def _plain_words(folder: Path) -> None:
    """vocab.txt instead of tokenizer.json."""
    spec = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    words = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    (folder / "tokenizer.json").unlink()


def _plain_pairs(folder: Path) -> None:
    """vocab.json and merges.txt instead of tokenizer.json."""
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), "utf-8")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    (folder / "tokenizer.json").unlink()


def _template(spec: dict[str, Any]) -> None:
    """Pairs whose second text is of type 1, whatever the model has."""
    first, last = ("<s>", 0), ("</s>", 2)
    made = Tokenizer(models.BPE())
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B:1 </s>:1", [first, last])
    spec["post_processor"] = json.loads(made.to_str())["post_processor"]


def _blanks_joined(spec: dict[str, Any]) -> None:
    """What older versions of transformers wrote of SentencePiece's rules."""
    spec["normalizer"] = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}


def _lowered_words(spec: dict[str, Any]) -> None:
    """A tokenizer that is not BERT's own."""
    spec["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}
    spec["pre_tokenizer"] = {"type": "Whitespace"}


def _cut(spec: dict[str, Any]) -> None:
    spec["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    spec["padding"] = {
        "strategy": {"Fixed": 24}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    }  # fmt: skip


def _larger(model: Any) -> None:
    """Logits of about a thousand."""
    with torch.no_grad():
        head = model.classifier
        head.weight.mul_(300)
        head.bias.add_(900)


def _halved(model: Any) -> None:
    model.half()


def _config(**changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _no_word_for(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


VARIANTS = (
    Variant("bert"),
    Variant("bert-cased", settings={"do_lower_case": False}, tokenizer=_normal(lowercase=False)),
    Variant("bert-config-cased", settings={"do_lower_case": False}),
    Variant("bert-config-uncased", settings={"do_lower_case": True}, tokenizer=_normal(lowercase=False)),
    Variant("bert-accents-kept", settings={"strip_accents": False}),
    Variant("bert-cased-accents-stripped", settings={"do_lower_case": False, "strip_accents": True}),
    Variant("bert-ideographs-whole", settings={"tokenize_chinese_chars": False}),
    Variant("bert-no-settings", settings=None),
    Variant("bert-no-settings-cased", settings=None, tokenizer=_normal(lowercase=False)),
    Variant("bert-vocabulary-file", files=_plain_words),
    Variant("bert-no-types", settings={"model_input_names": ["input_ids", "attention_mask"]}),
    Variant("bert-short", settings={"model_max_length": 20}),
    Variant("bert-too-long", settings={"model_max_length": 100000}),
    Variant("bert-left", settings={"truncation_side": "left"}),
    Variant("bert-one-type", config={"type_vocab_size": 1}),
    Variant("bert-three-types", config={"type_vocab_size": 3}),
    Variant("bert-added", tokenizer=_added()),
    Variant(
        "bert-added-as-saved",
        settings={
            "added_tokens_decoder": {
                "600": {"content": "brandname", "special": False, "normalized": True, "lstrip": False, "rstrip": False}
            }
        },
        tokenizer=_added(),
    ),
    Variant("bert-added-special", tokenizer=_added(special=True, content="[NAME]")),
    Variant("bert-added-by-settings", settings={"additional_special_tokens": ["[NAME]"]}),
    Variant("bert-cut-in-file", tokenizer=_cut),
    Variant("bert-as-file", settings={"tokenizer_class": "PreTrainedTokenizerFast"}),
    Variant("bert-own-rules", settings={"tokenizer_class": "PreTrainedTokenizerFast"}, tokenizer=_lowered_words),
    Variant("bert-padding-left", settings={"padding_side": "left"}),
    Variant("bert-other-ends", settings={"cls_token": "[PAD]", "sep_token": "[MASK]"}),
    Variant("bert-gelu-new", config={"hidden_act": "gelu_new"}),
    Variant("bert-gelu-python", config={"hidden_act": "gelu_python"}),
    Variant("bert-gelu-fast", config={"hidden_act": "gelu_fast"}),
    Variant("bert-half", model=_halved),
    Variant("bert-regression-of-thousands", config={"num_labels": 1, "problem_type": "regression"}, model=_larger),
    Variant("bert-many-labels", config={"num_labels": 5, "problem_type": "multi_label_classification"}),
    Variant("bert-qa", task="qa"),
    Variant("bert-qa-cased", task="qa", settings={"do_lower_case": False}),
    Variant("bert-qa-no-types", task="qa", settings={"model_input_names": ["input_ids", "attention_mask"]}),
    Variant("roberta", "roberta", config={"type_vocab_size": 1}),
    Variant("roberta-blank-in-front", "roberta", settings={"add_prefix_space": True}),
    Variant("roberta-no-blank-in-front", "roberta", settings={"add_prefix_space": False}, tokenizer=_prefix(True)),
    Variant("roberta-no-settings", "roberta", settings=None, tokenizer=_prefix(True)),
    Variant("roberta-vocabulary-files", "roberta", files=_plain_pairs),
    Variant("roberta-short", "roberta", settings={"model_max_length": 20}),
    Variant("roberta-left", "roberta", settings={"truncation_side": "left"}),
    Variant("roberta-untrimmed", "roberta", settings={"trim_offsets": False}),
    Variant(
        "roberta-pairs-of-type-1",
        "roberta",
        settings={
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "pad_token": "<pad>",
        },
        tokenizer=_template,
        config={"type_vocab_size": 1},
    ),
    Variant("roberta-qa", "roberta", "qa", config={"type_vocab_size": 1}),
    Variant("roberta-qa-blank", "roberta", "qa", settings={"add_prefix_space": True}),
    Variant("distilbert", "distilbert"),
    Variant("distilbert-of-bert", "distilbert", settings={"tokenizer_class": "BertTokenizer"}),
    Variant("distilbert-no-settings", "distilbert", settings=None),
    Variant("distilbert-cased", "distilbert", settings={"do_lower_case": False}),
    Variant("distilbert-qa", "distilbert", "qa"),
    Variant("electra", "electra", config={"embedding_size": 16}),
    Variant("electra-as-wide", "electra", config={"embedding_size": 32}),
    Variant("electra-qa", "electra", "qa", config={"embedding_size": 16}),
    Variant("electra-qa-as-wide", "electra", "qa", config={"embedding_size": 32}),
    Variant("xlm-roberta", "xlm-roberta", config={"type_vocab_size": 1}),
    Variant("xlm-roberta-no-blank-in-front", "xlm-roberta", settings={"add_prefix_space": False}),
    Variant("xlm-roberta-no-settings", "xlm-roberta", settings=None),
    Variant("xlm-roberta-left", "xlm-roberta", settings={"truncation_side": "left"}),
    Variant("xlm-roberta-blanks-joined", "xlm-roberta", tokenizer=_blanks_joined),
    Variant("xlm-roberta-qa", "xlm-roberta", "qa", config={"type_vocab_size": 1}),
    Variant("xlm-roberta-qa-short", "xlm-roberta", "qa", settings={"model_max_length": 30}),
    Variant("camembert", "camembert", config={"type_vocab_size": 1}),
    Variant("camembert-no-settings", "camembert", settings=None),
    Variant("camembert-qa", "camembert", "qa", config={"type_vocab_size": 1}),
    Variant("bert-added-elsewhere", tokenizer=_added(650), refused="gives the token 'brandname' the id 650"),
    Variant(
        "bert-token-beyond-table",
        tokenizer=_added(),
        config={"vocab_size": 600},
        refused="'brandname' with id 600",
    ),
    Variant(
        "bert-tokens-by-settings-beyond-table",
        settings={"additional_special_tokens": [f"[N{n}]" for n in range(120)]},
        refused=f"the embedding table has {ROWS} rows",
    ),
    Variant("bert-special-tokens-split", settings={"split_special_tokens": True}, refused="split_special_tokens"),
    Variant("bert-decoder", config={"is_decoder": True}, refused="is_decoder"),
    Variant("bert-qa-left", task="qa", settings={"truncation_side": "left"}, refused="truncation_side is left"),
    Variant("bert-no-room", settings={"model_max_length": 3}, refused="model_max_length is 3"),
    Variant("bert-no-vocabulary", files=_no_word_for("tokenizer.json"), refused="no vocabulary"),
    Variant(
        "bert-random-pieces",
        "roberta",
        settings={"tokenizer_class": "PreTrainedTokenizerFast"},
        tokenizer=lambda spec: spec["model"].update(dropout=0.5),
        refused="dropout is set",
    ),
    Variant(
        "bert-own-tokenizer", settings={"auto_map": {"AutoTokenizer": ["a.B", None]}}, refused="auto_map names code"
    ),
    Variant("bert-own-model", files=_config(auto_map={"AutoModel": "a.B"}), refused="auto_map names code"),
    Variant("bert-fewer-layers", files=_config(num_hidden_layers=1), refused="has no place; is config.json this"),
    Variant("bert-other-shapes", files=_config(intermediate_size=32), refused="have other shapes than config.json"),
    Variant("bert-tuples", files=_config(return_dict=False, output_hidden_states=True)),
    Variant("bert-quantised", files=_config(quantization_config={"bits": 8}), refused="quantization_config is set"),
    Variant("bert-pruned-heads", files=_config(pruned_heads={"0": [1]}), refused="pruned_heads is set: heads are left"),
    Variant("bert-cross", files=_config(add_cross_attention=True), refused="add_cross_attention is set: that is of a"),
    Variant("bert-other-weights", files=_config(transformers_weights="x.bin"), refused="transformers_weights is set"),
)
