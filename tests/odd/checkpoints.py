"""Checkpoints with something odd about them, made from seeds: one or two changes to a sound one."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.odd.variants import VARIANTS, build

BASES = (
    "bert", "bert-no-settings", "bert-qa", "roberta", "roberta-qa", "distilbert", "bert-vocabulary-file",
    "electra", "xlm-roberta", "xlm-roberta-qa", "camembert",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None,
    "",
    "x",
    "512",
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    0.5,
    1e30,
    True,
    False,
    [],
    {},
    [1],
    {"a": 1},
    "ä" * 40,
)
_CONFIG = (
    "model_type", "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "dim",
    "intermediate_size", "hidden_act", "activation", "max_position_embeddings", "type_vocab_size", "pad_token_id",
    "id2label", "label2id", "num_labels", "problem_type", "layer_norm_eps", "is_decoder", "dtype", "torch_dtype",
    "position_embedding_type", "quantization_config", "transformers_weights", "auto_map", "tokenizer_class",
    "add_cross_attention", "chunk_size_feed_forward", "n_heads", "n_layers", "hidden_dim", "pruned_heads",
)  # fmt: skip
_SETTINGS = (
    "tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "trim_offsets",
    "model_max_length", "model_input_names", "truncation_side", "padding_side", "split_special_tokens", "auto_map",
    "cls_token", "sep_token", "pad_token", "unk_token", "mask_token", "bos_token", "eos_token", "chat_template",
    "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "name_or_path", "backend",
    "never_split", "do_basic_tokenize", "clean_up_tokenization_spaces", "vocab_file", "tokenizer_file", "max_length",
)  # fmt: skip
_FITTING: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert", "roberta", "distilbert", "gpt2", "electra", "xlm-roberta", "camembert", "mpnet"),
    "architectures": (["BertModel"], ["BertForTokenClassification"], ["BertForQuestionAnswering"], ["X"], "Bert"),
    "hidden_act": ("silu", "relu", "gelu_new", "tanh", "no such"),
    "id2label": ({"0": "a", "1": "a"}, {"1": "a", "2": "b"}, {"0": ""}, {"0": "a", "1": "b", "2": "c"}, {"x": "y"}),
    "label2id": ({"LABEL_0": 1, "LABEL_1": 0}, {"a": 0}),
    "problem_type": ("regression", "multi_label_classification", "no such"),
    "tokenizer_class": ("PreTrainedTokenizerFast", "BertTokenizer", "RobertaTokenizer", "NoSuchTokenizer",
                        "XLMRobertaTokenizer", "CamembertTokenizer", "BertJapaneseTokenizer",
                        "T5Tokenizer", "DistilBertTokenizerFast"),
    "truncation_side": ("left", "right", "middle"),
    "model_input_names": (["input_ids"], ["input_ids", "attention_mask", "token_type_ids"], ["x"]),
    "added_tokens_decoder": ({"5": {"content": "new"}}, {"x": {}}, {"699": {"content": "brandname", "special": True}},
                             {"9999": {"content": "far", "special": False}}),
    "additional_special_tokens": (["[A]", "[B]"], [1], [f"[{n}]" for n in range(200)]),
    "cls_token": ("[NEW]", {"content": "[CLS]"}, "the"),
    "sep_token": ("[NEW]", "the"),
    "unk_token": ("[NEW]", "the"),
    "pad_token": ("[NEW]", "[UNK]"),
    "model_max_length": (5, 8, 20, 63, 64, 65, 1000000000000000019884624838656, -5),
    "position_embedding_type": ("relative_key", "absolute"),
    "torch_dtype": ("float16", "int8", "no such"),
    "vocab_size": (500, 599, 600, 601, 700, 10_000_000),
    "pad_token_id": (699, 700, -1, 5),
    "max_position_embeddings": (2, 8, 16, 4096),
}  # fmt: skip


def make(seed: int, folder: Path, sound: Path) -> str:
    """Write a checkpoint to `folder` and say what is odd about it. sound: a folder of sound ones, filled as needed."""
    rng = random.Random(seed)  # noqa: S311 - files, no secrets
    base = rng.choice(BASES)
    if not (sound / base).exists():
        build(next(variant for variant in VARIANTS if variant.name == base), sound / base)
    shutil.copytree(sound / base, folder)
    said = [_CHANGES[rng.randrange(len(_CHANGES))](folder, rng) for _ in range(rng.choice((1, 1, 1, 2)))]
    return f"{base}: " + "; ".join(said)


def _odd_object(name: str, keys: tuple[str, ...]) -> Callable[[Path, random.Random], str]:
    def change(folder: Path, rng: random.Random) -> str:
        path = folder / name
        if path.is_dir():
            return f"{name} is a folder"
        raw = _object(path)
        key = rng.choice(keys)
        value = rng.choice(_FITTING.get(key, _VALUES) if rng.random() < 0.6 else _VALUES)
        if rng.random() < 0.15:
            raw.pop(key, None)
            value = "(gone)"
        else:
            raw[key] = value
        path.write_text(json.dumps(raw), "utf-8")
        return f"{name} {key}={value!r:.60}"

    return change


def _object(path: Path) -> dict[str, Any]:
    """What a file holds, or nothing where a change before this one has spoilt it."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _odd_bytes(folder: Path, rng: random.Random) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        return "nothing left"
    path = rng.choice(files)
    content = path.read_bytes()
    kind = rng.choice(("cut", "empty", "flip", "noise", "bom", "utf-16", "nested", "array", "latin"))
    at = rng.randrange(max(1, len(content)))
    path.write_bytes(
        {
            "cut": content[:at],
            "empty": b"",
            "flip": content[:at]
            + bytes([(content[at] ^ (1 << rng.randrange(8))) if content else 0])
            + content[at + 1 :],
            "noise": rng.randbytes(300),
            "bom": b"\xef\xbb\xbf" + content,
            "utf-16": content[:2000].decode("latin-1").encode("utf-16"),
            "nested": b"[" * 100_000,
            "array": b"[1, 2]",
            "latin": content[:at] + b"\xe9" + content[at:],
        }[kind]
    )
    return f"{path.name} {kind} at {at}"


def _odd_file(folder: Path, rng: random.Random) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    if not files:
        return "nothing left"
    path = rng.choice(files)
    kind = rng.choice(("gone", "folder", "dangling", "adapter", "pickle", "map", "added", "vocabulary", "auto"))
    if kind in ("gone", "folder", "dangling"):
        path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "adapter":
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    elif kind == "pickle":
        (folder / "model.safetensors").unlink(missing_ok=True)
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    elif kind == "map":
        (folder / "special_tokens_map.json").write_text(json.dumps({"cls_token": rng.choice(_VALUES)}))
    elif kind == "added":
        (folder / "added_tokens.json").write_text(json.dumps({"new": rng.choice((600, 5, -1, 10**6, "x"))}))
    elif kind == "vocabulary":
        (folder / "vocab.txt").write_bytes(rng.choice((b"", b"a\nb\n", b"[UNK]\n\n\n\xe9\n")))
    elif kind == "auto":
        (folder / "modeling_evil.py").write_text("raise SystemExit('code of a checkpoint ran')")
        if not (folder / "config.json").is_file():
            return "no config.json"
        raw = _object(folder / "config.json")
        raw["auto_map"] = {"AutoModelForSequenceClassification": "modeling_evil.Evil"}
        (folder / "config.json").write_text(json.dumps(raw))
    return f"{path.name} {kind}"


def _odd_tokenizer(folder: Path, rng: random.Random) -> str:
    path = folder / "tokenizer.json"
    spec = _object(path)
    model = spec.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        return "no tokenizer.json"
    scored = isinstance(model["vocab"], list)  # of pieces, each with its score
    kind = rng.choice(("part", *(("score",) if scored else ("token", "id")), "added", "kind", "types"))
    if kind == "part":
        part = rng.choice(("normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens", "model"))
        spec[part] = rng.choice((None, {}, [], {"type": "Nothing"}, {"type": "Lowercase"}, {"type": "Whitespace"}))
    elif kind == "score":
        n = rng.choice((0, 3, 4, rng.randrange(len(model["vocab"]))))
        value = rng.choice((None, "x", 1e30, -1e30, 5, True, ...))
        if value is ...:
            del model["vocab"][n]
        else:
            model["vocab"][n] = [model["vocab"][n][0], value]
    elif kind == "token":
        for token in rng.sample(sorted(model["vocab"]), 3) + rng.sample(("[UNK]", "[CLS]", "[SEP]", "<s>", "<unk>"), 1):
            model["vocab"].pop(token, None)
    elif kind == "id":
        model["vocab"][rng.choice(sorted(model["vocab"]))] = rng.choice((-1, 0, 700, 10**7, 1 << 40, 0.5, None))
    elif kind == "added":
        spec["added_tokens"] = [
            {"id": rng.choice((0, 3, 600, 700, -1)), "content": rng.choice(("", "new", "the", " a ", "e")),
             "special": rng.random() < 0.5, "normalized": rng.random() < 0.5, "lstrip": rng.random() < 0.5,
             "rstrip": False, "single_word": False}
        ]  # fmt: skip
    elif kind == "kind":
        model["type"] = rng.choice(("BPE", "WordLevel", "Unigram", "WordPiece", "Other"))
    elif kind == "types":
        text = json.dumps(spec["post_processor"]).replace('"type_id": 1', f'"type_id": {rng.choice((0, 2, 9))}')
        spec["post_processor"] = json.loads(text)
    path.write_text(json.dumps(spec), "utf-8")
    return f"tokenizer.json {kind}"


def _odd_weights(folder: Path, rng: random.Random) -> str:
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except Exception:  # spoilt by a change before this one
        return "weights spoilt"
    name = rng.choice(sorted(state))
    kind = rng.choice(("nan", "inf", "shape", "gone", "extra", "lora", "int8", "half", "names", "index", "large"))
    if kind in ("nan", "inf"):
        state[name].view(-1)[0] = float(kind)
    elif kind == "shape":
        state[name] = torch.cat([state[name], state[name]])
    elif kind == "gone":
        del state[name]
    elif kind == "extra":
        state["something.weight"] = torch.zeros(2)
    elif kind == "lora":
        state[name.replace(".weight", ".lora_A.weight") + "_"] = torch.zeros(2)
    elif kind == "int8":
        state[name] = state[name].to(torch.int8)
    elif kind == "half":
        state = {
            key: value.to(rng.choice((torch.float16, torch.bfloat16, torch.float64))) for key, value in state.items()
        }
    elif kind == "names":
        state = {key.replace("LayerNorm.weight", "LayerNorm.gamma"): value for key, value in state.items()}
    elif kind == "large":
        state[name] = state[name] * 1e4
    if kind == "index":
        path.rename(folder / "shard.safetensors")
        target = rng.choice(
            ("shard.safetensors", "pytorch_model.bin", "../model.safetensors", "/etc/passwd", "none.safetensors", 5)
        )
        table: Any = rng.choice((dict.fromkeys(state, target), {}, None, [target]))
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
        return f"index to {target}"
    save_file({key: value.contiguous() for key, value in state.items()}, path, metadata={"format": "pt"})
    return f"weights {kind} {name}"


_CHANGES: tuple[Callable[[Path, random.Random], str], ...] = (
    _odd_object("config.json", _CONFIG),
    _odd_object("config.json", _CONFIG),
    _odd_object("tokenizer_config.json", _SETTINGS),
    _odd_object("tokenizer_config.json", _SETTINGS),
    _odd_bytes,
    _odd_file,
    _odd_tokenizer,
    _odd_tokenizer,
    _odd_weights,
    _odd_weights,
)
