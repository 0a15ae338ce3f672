"""Tiny checkpoints of RoBERTa and DistilBERT for questions, with made-up weights: the same on every machine.

`record.py` runs the pipeline on them, `test_oracle.py` the product. A weight is a whole number divided by a power of
two, and the numbers are drawn from a generator whose raw output never changes, so no rounding is left to a machine. The
vocabularies are of words of the texts and questions in `cases.json`; a fourth of them, and all others, are cut into
several tokens.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

# Settings of the byte-level tokenizer; None for a WordPiece one.
BYTE_LEVEL: Mapping[str, Mapping[str, bool] | None] = {
    "roberta": {"add_prefix_space": False, "trim_offsets": True},
    "roberta, prefixed": {"add_prefix_space": True, "trim_offsets": True},
    "roberta, untrimmed": {"add_prefix_space": False, "trim_offsets": False},
    "distilbert": None,
}
POSITIONS = 512
_SHAPE = {
    "roberta": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS + 2,
        "type_vocab_size": 1,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    },
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": POSITIONS},
}
# Of many tried, one by which "no answer" wins for some questions and loses for others.
_SEED = {"roberta": 7, "distilbert": 6}
# The position of the first token.
_FIRST = {"roberta": 2, "distilbert": 0}
# By the end of a weight's name: the power of two that its whole numbers, of deviation 148, are divided by.
_HALVINGS = {
    "word_embeddings.weight": 8,
    "position_embeddings.weight": 9,
    "token_type_embeddings.weight": 9,
    "qa_outputs.weight": 7,
    "output.dense.weight": 10,
    "out_lin.weight": 10,
    "lin2.weight": 10,
    "bias": 11,
    "LayerNorm.weight": 12,
    "layer_norm.weight": 12,
    "weight": 9,
}


def checkpoint(folder: Path, name: str, texts: Sequence[str]) -> str:
    """Write a checkpoint of `BYTE_LEVEL` by its name. Returns a digest of its tokenizer and its weights."""
    options = BYTE_LEVEL[name]
    tokenizer = _word_piece(texts) if options is None else _byte_level(texts, options)
    kind = "distilbert" if options is None else "roberta"
    config = transformers.AutoConfig.for_model(kind, vocab_size=tokenizer.get_vocab_size(), **_SHAPE[kind])
    model = transformers.AutoModelForQuestionAnswering.from_config(config)
    seen = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    weights = dict(sorted(model.named_parameters()))
    drawn = {name: _drawn(f"{_SEED[kind]} {name}", tuple(weight.shape)) for name, weight in weights.items()}
    positions = drawn[f"{kind}.embeddings.position_embeddings.weight"]
    positions[_FIRST[kind]] = drawn["qa_outputs.weight"].sum(0) / 2  # so "no answer" is among the likely ones
    for name, values in drawn.items():
        weights[name].data = torch.from_numpy(values)
        seen.update(name.encode() + values.astype("<f4").tobytes())
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(_settings(options)), "utf-8")
    return seen.hexdigest()[:12]


def _drawn(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bell-shaped: the sum of four bytes. Scales of normalised values are about 1."""
    raw = np.random.PCG64(zlib.crc32(name.encode())).random_raw(int(np.prod(shape)))
    whole = sum(((raw >> np.uint64(shift)) & np.uint64(255)).astype(np.int64) for shift in (0, 8, 16, 24)) - 510
    halvings = next(power for end, power in _HALVINGS.items() if name.endswith(end))
    around = 1 if name.lower().endswith(("layernorm.weight", "layer_norm.weight")) else 0
    return (around + np.ldexp(whole, -halvings)).astype(np.float32).reshape(shape)


def _byte_level(texts: Sequence[str], options: Mapping[str, bool]) -> Tokenizer:
    """RoBERTa's: words and the blank before them, put together from the left, byte by byte."""
    prefixed = options["add_prefix_space"]
    split = pre_tokenizers.ByteLevel(add_prefix_space=prefixed)
    merges = [("\u0120", "\u0120"), ("\u010a", "\u010a")]  # blanks, and ends of lines
    for word in _known(word for text in texts for word, _ in split.pre_tokenize_str(text)):
        merges += [(word[:n], word[n]) for n in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces += [left + right for left, right in merges]
    tokenizer = Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = split
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in pieces[:4]])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), **options)
    return tokenizer


def _word_piece(texts: Sequence[str]) -> Tokenizer:
    """DistilBERT's, in lower case: words, and letters to spell others with."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, split = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = [word for text in texts for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))]
    letters = sorted({letter for word in words for letter in word})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
    pieces += [word for word in _known(words) if len(word) > 1]
    tokenizer = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, split
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _known(words: Iterable[str]) -> list[str]:
    """Three of four, the most frequent first; the others, and the rare ones of other texts, are spelled."""
    counts = Counter(words)
    return sorted((word for word in counts if zlib.crc32(word.encode()) % 4), key=lambda word: (-counts[word], word))


def _settings(options: Mapping[str, bool] | None) -> dict[str, Any]:
    if options is None:
        names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
        return {"tokenizer_class": "DistilBertTokenizer", "model_max_length": POSITIONS, "do_lower_case": True, **names}
    names = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return {"tokenizer_class": "RobertaTokenizer", "model_max_length": POSITIONS, **options, **names}
