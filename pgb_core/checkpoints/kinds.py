"""Recognises directories and models that cannot be read, and says what to give instead.

Each message says what was found and what to do. Of files that belong to other programs, only the names and a few
settings in JSON are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from pgb_core.data.problems import Problem, problem_of
from pgb_core.data.words import plain, shown
from pgb_core.errors import CheckpointError

_FINE_TUNE = "fine-tune a sequence classification or question answering head on its encoder"
_ORIGINAL = "name the checkpoint from which it was made"
_VECTORS = "a sentence-transformers model, which gives vectors and has no head"
_CROSS_ENCODER = "config_sentence_transformers.json"
_QUANTISE = "quantize_config.json"  # transformers.js calls its settings so, too, beside weights that are floats
# Files that tell what a directory is: what it is, and what to do.
_DIRECTORIES = (
    ("model_head.pkl", "a SetFit model, whose head is a pickle, which is never read", _FINE_TUNE),
    ("config_setfit.json", "a SetFit model, whose head lies outside the network", _FINE_TUNE),
    ("modules.json", _VECTORS, _FINE_TUNE),
    ("sentence_bert_config.json", _VECTORS, _FINE_TUNE),
    (_QUANTISE, "a model whose weights are quantised (GPTQ)", _ORIGINAL),
    ("quant_config.json", "a model whose weights are quantised (AWQ)", _ORIGINAL),
)
# Model types that people have, and why each is none of the architectures that are read.
_MODEL_TYPES = (
    (("deberta", "deberta-v2", "nezha", "xlnet"), "its attention compares relative positions"),
    (("mpnet",), "its attention adds a bias for relative positions"),
    (("modernbert", "nomic_bert", "roformer", "eurobert"), "its positions rotate queries and keys"),
    (("albert",), "all of its layers share one set of weights"),
    (("longformer", "big_bird"), "its attention is sparse"),
    (("xlm-roberta-xl", "roberta-prelayernorm"), "it normalises before each sublayer, not behind"),
    (("mobilebert", "squeezebert", "funnel", "convbert", "fnet"), "its layers are built otherwise than BERT's"),
    (("t5", "mt5", "umt5", "longt5", "bart", "mbart", "pegasus", "marian"), "it has a decoder besides its encoder"),
    (
        ("gpt2", "gpt_neo", "gpt_neox", "gptj", "openai-gpt", "opt", "bloom", "falcon", "llama", "mistral", "mixtral",
         "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "phi3"),
        "it is a decoder, in which a token sees only those before it",
    ),
)  # fmt: skip
# What a Trainer writes beside the weights.
_OF_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)")
_PICKLES = {".bin", ".pt", ".pth", ".h5", ".ckpt", ".pkl", ".msgpack"}
_EXPORTED = {".onnx", ".gguf", ".tflite"}
_STATE = "trainer_state.json"
_LISTED = 6


def refuse_other_kinds(folder: Path, as_base: bool = False) -> None:
    """Raises CheckpointError where a directory is of another kind than `save_pretrained` writes.

    as_base: only its encoder is wanted, as that of an adapter's base, which may have any head or none.
    """
    for name, what, remedy in _DIRECTORIES:
        if (as_base and remedy == _FINE_TUNE) or (what == _VECTORS and _is_cross_encoder(folder)):
            continue
        if name == _QUANTISE and not _settings(folder / name).keys() & {"bits", "quant_method"}:
            continue
        if (folder / name).is_file():
            raise CheckpointError(f"{folder}: is {what}; {remedy}")


def unsupported(model_type: object, supported: str) -> str:
    """Why a model type is not read, and what to do. supported: those that are, in prose."""
    if not isinstance(model_type, str):
        return (
            f"config.json names no model type; save the checkpoint again with save_pretrained(), as one of {supported}"
        )
    why = next((f": {why}" for names, why in _MODEL_TYPES if model_type in names), "")
    return f"model type {shown(model_type)} is not supported{why}; fine-tune a checkpoint of one of {supported}"


def quantised(settings: object) -> str:
    """Why quantised weights are not read, by the `quantization_config` of a config.json."""
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    by = f" by {shown(method)}" if isinstance(method, str) else ""
    return f"the weights are quantised{by}; name the checkpoint from which they were made"


def without_config(folder: Path) -> str:
    """What to do with a directory that has no config.json."""
    return _inside(folder) or "name a directory that save_pretrained wrote"


def without_weights(folder: Path) -> str:
    """What to do with a directory that has no safetensors weights."""
    names = sorted(path.name for path in folder.iterdir())
    other = next((name for name in names if name.endswith(".safetensors") and not name.startswith("adapter")), None)
    if other is not None:
        return (
            f"{plain(other)} is there, and no index names it; copy the whole directory with its index, or call the file"
            " model.safetensors if it is the only one"
        )
    pickle = next((name for name in names if Path(name).suffix in _PICKLES and not _OF_TRAINING.fullmatch(name)), None)
    graph = next(
        (path for path in sorted([*folder.glob("*.*"), *folder.glob("onnx/*")]) if path.suffix in _EXPORTED), None
    )
    if pickle is None and graph is not None:
        return (
            f"{plain(graph.relative_to(folder))} was exported for another program and is not read; name the checkpoint "
            "from which it was exported"
        )
    return (f"{plain(pickle)} is not read, for pickled weights are not read; " if pickle else "") + (
        _inside(folder) or "load the model where it was trained and save it again with save_pretrained()"
    )


def _inside(folder: Path) -> str | None:
    """Which of the checkpoints inside a directory to name, such as those of a Trainer's output."""
    found = {path.parent for name in ("config.json", "adapter_config.json") for path in folder.glob(f"*/{name}")}
    inside = sorted(found, key=lambda path: ([int(n) for n in re.findall(r"\d+", path.name)], path.name))
    if not inside:
        return None
    more = f" and {len(inside) - _LISTED} before them" if len(inside) > _LISTED else ""
    listed = ", ".join(plain(path.name) for path in inside[-_LISTED:]) + more
    best = _best(folder, inside)
    if best is not None:
        return f"it holds {listed}; {_STATE} says that the best is {plain(best.name)}: name {plain(best)}"
    last = plain(inside[-1])
    if len(inside) == 1:
        return f"it holds {listed}: name {last}"
    return f"it holds {listed}; nothing says which is the best: name one of them, such as the last, {last}"


def _best(folder: Path, inside: list[Path]) -> Path | None:
    """The best of a Trainer's checkpoints by what it wrote itself, at the top or in the last one."""
    for place in (folder, inside[-1]):
        name = _settings(place / _STATE).get("best_model_checkpoint")
        if isinstance(name, str):  # a path of where the training ran, with either kind of slash
            return next((path for path in inside if path.name == PureWindowsPath(name).name), None)
    return None


def _is_cross_encoder(folder: Path) -> bool:
    """Whether sentence-transformers wrote a directory that is an ordinary classifier, too."""
    return _settings(folder / _CROSS_ENCODER).get("model_type") == "CrossEncoder"


def scored_otherwise(folder: Path, config: Mapping[str, Any], problem: str | None, labels: int) -> list[str]:
    """What to say where sentence-transformers scores a CrossEncoder otherwise than the artifact does.

    problem: the kind of problem that its config.json declares. labels: how many outputs it has.
    """
    own = config.get("sentence_transformers")
    said = [
        config.get("sbert_ce_default_activation_function"),
        own.get("activation_fn") if isinstance(own, Mapping) else None,
        _settings(folder / _CROSS_ENCODER).get("activation_fn"),
    ]
    names = {name.rpartition(".")[2] for name in said if isinstance(name, str)}
    if "Identity" in names and labels == 1 and problem != Problem.REGRESSION:
        return [
            "sentence-transformers gives the logits of this CrossEncoder, and the artifact their sigmoid, as "
            "transformers does; the order is the same, and the activation none gives logits"
        ]
    if "Sigmoid" in names and problem_of(problem, labels) == Problem.SINGLE_LABEL:
        return [
            f"sentence-transformers gives the sigmoid of each of the {labels} outputs of this CrossEncoder, and the "
            "artifact their softmax, as transformers does; if several labels may be right at once, write "
            '"problem_type": "multi_label_classification" into config.json'
        ]
    return []


def unused_prompt(folder: Path) -> list[str]:
    """What to say of a text that sentence-transformers adds to every input, and the artifact does not."""
    settings = _settings(folder / _CROSS_ENCODER)
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts")
    prompt = prompts.get(name) if isinstance(name, str) and isinstance(prompts, dict) else None
    if not isinstance(prompt, str) or not prompt:
        return []
    return [
        f"{_CROSS_ENCODER} names the default prompt {shown(prompt)}, which sentence-transformers adds to the texts and "
        "the artifact does not; if the model was trained with it, add it to the texts of the data and of the requests"
    ]


def _settings(path: Path) -> Mapping[str, Any]:
    """A JSON object that is only asked for hints: nothing where it cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
