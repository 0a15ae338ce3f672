"""Reads the architecture, the task and the shape of the encoder from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.kinds import unsupported
from pgb_core.data.words import shown
from pgb_core.errors import CheckpointError
from pgb_core.model.blocks import ACTIVATIONS
from pgb_core.model.encoder import EncoderConfig
from pgb_core.tasks import TASKS

# Settings that every architecture has, and that are read or say nothing about what the model computes.
_KNOWN = frozenset({
    "architectures", "model_type", "vocab_size", "max_position_embeddings", "pad_token_id", "id2label", "label2id",
    "num_labels", "problem_type", "dtype", "torch_dtype", "transformers_version", "initializer_range", "use_cache",
    "bos_token_id", "eos_token_id", "tie_word_embeddings", "gradient_checkpointing", "finetuning_task", "return_dict",
    "output_attentions", "output_hidden_states", "_name_or_path", "_num_labels", "output_past",
})  # fmt: skip
# Of these, what says nothing of the model itself: where it lay, how it was saved, what a call returns.
_PASSING = frozenset({
    "architectures", "num_labels", "dtype", "torch_dtype", "transformers_version", "gradient_checkpointing",
    "finetuning_task", "return_dict", "output_attentions", "output_hidden_states", "_name_or_path", "_num_labels",
    "output_past",
})  # fmt: skip
# What `encoder_config_of` refuses where it is not as usual; newer versions of transformers have no default of it.
_REFUSED_UNLESS_USUAL = frozenset({"position_embedding_type"})
# Names that transformers has for activations, and the name that is used here for the same function.
ALIASES = {
    "gelu_python": "gelu", "gelu_python_tanh": "gelu_new", "gelu_fast": "gelu_new", "gelu_accurate": "gelu_new",
}  # fmt: skip
_OTHER_TASKS = (
    ("TokenClassification", "labels every token"),
    ("MaskedLM", "fills in masked words"),
    ("PreTraining", "was pre-trained only"),
    ("MultipleChoice", "chooses among several texts"),
    ("NextSentencePrediction", "says whether sentences follow one another"),
    ("ConditionalGeneration", "writes text"),
    ("LMHead", "writes text"),
    ("CausalLM", "writes text"),
)


def architecture_of(config: Mapping[str, Any], source: object) -> str:
    """The key of `ARCHITECTURES` that a config.json names. Raises CheckpointError."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise CheckpointError(f"{source}: {unsupported(kind, ', '.join(ARCHITECTURES))}")
    return kind


def task_of(config: Mapping[str, Any], source: object) -> str:
    """What a config.json says the model was trained for: classification or qa. Raises CheckpointError."""
    name = " ".join(config.get("architectures") or [])
    for task in TASKS.values():
        if task.auto in name:
            return task.name
    for part, what in _OTHER_TASKS:
        if part in name:
            raise CheckpointError(
                f"{source}: is {name}, which {what}; only sequence classification and question answering are supported"
            )
    if name:
        raise CheckpointError(
            f"{source}: is {name}, which has no head for a task; fine-tune it for classification or question answering"
        )
    raise CheckpointError(f"{source}: its config.json does not name the task it was trained for; give --task")


def encoder_config_of(config: Any, task: str) -> EncoderConfig:
    """Our shape of a Hugging Face config object. Raises CheckpointError when it is unsupported."""
    architecture = ARCHITECTURES[architecture_of(config.to_dict(), config.model_type)]
    numbers: dict[str, Any] = {**architecture.fixed}
    numbers |= {field: number_of(config, field, name) for field, name in architecture.numbers.items()}
    activation = activation_of(config, architecture.activation)
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise CheckpointError("relative position embeddings are not supported; use a checkpoint with absolute ones")
    return EncoderConfig(
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
        activation=activation,
        head_activation=None if TASKS[task].per_token else architecture.classifier.activation,
        labels=config.num_labels if TASKS[task].labelled else len(TASKS[task].outputs),
        task=task,
        pad_id=config.pad_token_id or 0,
        counts_padding=architecture.counts_padding,
        **numbers,
    )


def activation_of(config: Any, name: str) -> str:
    """The key of `ACTIVATIONS` that a config gives under a name. Raises CheckpointError."""
    found: str = getattr(config, name)
    known = ALIASES.get(found, found)
    if known not in ACTIVATIONS:
        raise CheckpointError(
            f"config.json: {name} is {shown(found)}, which is not supported; fine-tune a checkpoint with one of "
            f"{', '.join([*ACTIVATIONS, *ALIASES])}"
        )
    return known


def number_of(config: Any, field: str, name: str) -> float:
    """What a config gives under a name: `norm_eps` is between 0 and 1, all others are whole. Raises CheckpointError."""
    found = getattr(config, name)
    if field == "norm_eps":
        if type(found) not in (int, float) or not 0 < found < 1:
            raise CheckpointError(f"config.json: {name} is {found!r}; it must be a small number above 0")
        return float(found)
    if type(found) is not int or found < 1:
        raise CheckpointError(f"config.json: {name} is {found!r}; it must be a whole number, at least 1")
    return found


def unread_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a config.json that are not read and might change what the model computes.

    An entry that is as transformers has it by default changes nothing, because the model has that anyway. Where
    transformers has none of that name, the default is that it is off.
    """
    from transformers import AutoConfig

    architecture = architecture_of(config, "config.json")
    known = _KNOWN | _REFUSED_UNLESS_USUAL | ARCHITECTURES[architecture].known
    usual = AutoConfig.for_model(architecture)
    return {
        name: value
        for name, value in sorted(config.items())
        if name not in known and value != getattr(usual, name, None) and (value or hasattr(usual, name))
    }


def passed_on(config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that whoever opens an artifact needs: those of the architecture, without traces of where it was made."""
    kept = (_KNOWN | ARCHITECTURES[architecture_of(config, "config.json")].known) - _PASSING
    return {name: value for name, value in sorted(config.items()) if name in kept}
