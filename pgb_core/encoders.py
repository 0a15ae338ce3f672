"""Where a BERT, RoBERTa or DistilBERT checkpoint keeps its parts. No other file knows.

A checkpoint is a Hugging Face directory or hub name with safetensors weights; pickled weights are
refused. Each architecture is one table from our names to its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pgb_core.errors import CheckpointError
from pgb_core.nn.encoder import ACTIVATIONS, Encoder, EncoderConfig


@dataclass(frozen=True)
class Architecture:
    """One table. `{n}` is a layer; keys are ours, values the checkpoint's, without parameter names."""

    prefix: str
    embeddings: Mapping[str, str]
    layer: str
    sites: Mapping[str, str]
    classifier: Mapping[str, str]
    head_activation: str
    counts_padding: bool
    fields: Mapping[str, str]


_BERT_SITES = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.inner": "intermediate.dense",
    "feed_forward.outer": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings",
    "position": "position_embeddings",
    "token_type": "token_type_embeddings",
    "norm": "LayerNorm",
}
_BERT_FIELDS = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "activation": "hidden_act",
}
ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(
        "bert",
        _EMBEDDINGS,
        "encoder.layer.{n}",
        _BERT_SITES,
        {"dense": "bert.pooler.dense", "output": "classifier"},
        "tanh",
        True,
        _BERT_FIELDS,
    ),
    "roberta": Architecture(
        "roberta",
        _EMBEDDINGS,
        "encoder.layer.{n}",
        _BERT_SITES,
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        "tanh",
        False,
        _BERT_FIELDS,
    ),
    "distilbert": Architecture(
        "distilbert",
        {name: part for name, part in _EMBEDDINGS.items() if name != "token_type"},
        "transformer.layer.{n}",
        {
            "attention.query": "attention.q_lin",
            "attention.key": "attention.k_lin",
            "attention.value": "attention.v_lin",
            "attention.output": "attention.out_lin",
            "attention_norm": "sa_layer_norm",
            "feed_forward.inner": "ffn.lin1",
            "feed_forward.outer": "ffn.lin2",
            "feed_forward_norm": "output_layer_norm",
        },
        {"dense": "pre_classifier", "output": "classifier"},
        "relu",
        True,
        {"hidden": "dim", "layers": "n_layers", "heads": "n_heads", "ffn": "hidden_dim", "activation": "activation"},
    ),
}
_AUTO_CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "qa": "AutoModelForQuestionAnswering",
}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with all that is needed to run and describe it."""

    model: Encoder
    tokenizer: Tokenizer
    architecture: str
    labels: tuple[str, ...]
    problem_type: str | None
    digest: str
    source: str

    @property
    def task(self) -> str:
        """classification or qa."""
        return self.model.config.task


def load_checkpoint(source: str | Path, task: str | None = None) -> Checkpoint:
    """Load a Hugging Face directory or hub name in float32.

    task: classification or qa; by default what the checkpoint's config says it was trained for.
    Raises CheckpointError when it is missing, unsupported, damaged or has NaN weights.
    """
    config = _read_config(source)
    architecture = _architecture(config, source)
    task = task or _task_of(config, source)
    hf = _load_model(source, task, config)
    encoder_config = encoder_config_of(hf.config, task)
    state = hf.state_dict()
    model = Encoder(encoder_config)
    names = parameter_names(architecture, encoder_config)
    missing = [theirs for theirs in names.values() if theirs not in state]
    if missing:
        raise CheckpointError(f"{source}: lacks {missing[0]} and {len(missing) - 1} more; is it a {task} checkpoint?")
    own = {ours: state[theirs].float() for ours, theirs in names.items()}
    for ours, theirs in names.items():
        if not torch.isfinite(own[ours]).all():
            raise CheckpointError(f"{source}: {theirs} holds NaN or infinity; the checkpoint is damaged")
    model.load_state_dict(own)
    labels = _labels(hf.config, source) if task == "classification" else ()
    return Checkpoint(
        model.eval(),
        load_tokenizer(source),
        architecture,
        labels,
        getattr(hf.config, "problem_type", None) if task == "classification" else None,
        digest_of(own),
        Path(source).name if Path(source).exists() else str(source),
    )


def _labels(config: Any, source: str | Path) -> tuple[str, ...]:
    try:
        return tuple(str(config.id2label[number]) for number in range(config.num_labels))
    except KeyError as error:
        raise CheckpointError(f"{source}: id2label has no {error}; number labels from 0") from error


def encoder_config_of(config: Any, task: str) -> EncoderConfig:
    """Our shape of a Hugging Face config object. Raises CheckpointError when it is unsupported."""
    architecture = ARCHITECTURES[_architecture(config.to_dict(), config.model_type)]
    fields = {ours: getattr(config, theirs) for ours, theirs in architecture.fields.items()}
    if fields["activation"] not in ACTIVATIONS:
        raise CheckpointError(f"activation {fields['activation']!r} is not supported; known: {', '.join(ACTIVATIONS)}")
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise CheckpointError("relative position embeddings are not supported; use a checkpoint with absolute ones")
    return EncoderConfig(
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
        types=getattr(config, "type_vocab_size", 0) if "token_type" in architecture.embeddings else 0,
        norm_eps=getattr(config, "layer_norm_eps", 1e-12),
        head_activation=architecture.head_activation if task == "classification" else None,
        labels=config.num_labels if task == "classification" else 2,
        task=task,
        pad_id=config.pad_token_id or 0,
        counts_padding=architecture.counts_padding,
        **fields,
    )


def parameter_names(architecture: str, config: EncoderConfig) -> dict[str, str]:
    """Our parameter names -> the checkpoint's, for every tensor of a dense `Encoder`."""
    table = ARCHITECTURES[architecture]
    modules = {f"embeddings.{ours}": f"{table.prefix}.embeddings.{theirs}" for ours, theirs in table.embeddings.items()}
    for n in range(config.layers):
        base = f"{table.prefix}.{table.layer.format(n=n)}"
        modules |= {f"layers.{n}.{ours}": f"{base}.{theirs}" for ours, theirs in table.sites.items()}
    head = table.classifier if config.task == "classification" else {"output": "qa_outputs"}
    modules |= {f"head.{ours}": theirs for ours, theirs in head.items()}
    names = {}
    for ours, theirs in modules.items():
        names[f"{ours}.weight"] = f"{theirs}.weight"
        if not (ours.startswith("embeddings.") and not ours.endswith(".norm")):
            names[f"{ours}.bias"] = f"{theirs}.bias"
    return names


def digest_of(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and float32 bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().contiguous().cpu()
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_tokenizer(source: str | Path) -> Tokenizer:
    """The fast tokenizer, without padding or truncation set. Raises CheckpointError."""
    path = Path(source) / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointError(f"{path}: not a tokenizer file ({error})") from error
    else:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(source)).backend_tokenizer
        except Exception as error:
            raise CheckpointError(
                f"{source}: no tokenizer.json and none could be made; save the fast tokenizer beside the weights"
            ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read_config(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    _refuse_other_kinds(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{path}: no config.json; name a directory that save_pretrained wrote")
        try:
            config = json.loads((path / "config.json").read_text("utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path}/config.json: not JSON ({error})") from error
        if not isinstance(config, dict):
            raise CheckpointError(f"{path}/config.json: not a JSON object")
        return config
    if path.exists() or path.is_absolute() or str(source).startswith("."):
        raise CheckpointError(f"{source}: no such checkpoint directory")
    from transformers import AutoConfig

    try:
        return dict(AutoConfig.from_pretrained(str(source)).to_dict())
    except Exception as error:
        raise CheckpointError(f"{source}: neither a directory here nor a model that the hub gave") from error


# Files that tell what a directory is, where it is no classifier or question answerer that save_pretrained wrote.
_OTHER_KINDS = (
    ("model_head.pkl", "a SetFit model, whose head is a pickle, which is never read"),
    ("config_setfit.json", "a SetFit model, whose head lies outside the network"),
    ("modules.json", "a sentence-transformers model, which gives vectors and has no head"),
    ("sentence_bert_config.json", "a sentence-transformers model, which gives vectors and has no head"),
)
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


def _refuse_other_kinds(path: Path) -> None:
    for name, what in _OTHER_KINDS:
        if (path / name).is_file():
            raise CheckpointError(
                f"{path}: is {what}; fine-tune a sequence classification or question answering head on its encoder"
            )


def _architecture(config: Mapping[str, Any], source: object) -> str:
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise CheckpointError(f"{source}: model type {kind!r} is not supported; use one of {', '.join(ARCHITECTURES)}")
    return kind


def _task_of(config: Mapping[str, Any], source: object) -> str:
    name = " ".join(config.get("architectures") or [])
    if "QuestionAnswering" in name:
        return "qa"
    if "SequenceClassification" in name:
        return "classification"
    for part, what in _OTHER_TASKS:
        if part in name:
            raise CheckpointError(
                f"{source}: is {name}, which {what}; only sequence classification and question answering are supported"
            )
    if name:
        raise CheckpointError(
            f"{source}: is {name}, which has no head for a task; fine-tune it for classification or question answering"
        )
    raise CheckpointError(f"{source}: its config does not name the task it was trained for; say --task")


def _load_model(source: str | Path, task: str, config: Mapping[str, Any]) -> Any:
    import transformers

    auto = getattr(transformers, _AUTO_CLASSES[task])
    path = Path(source)
    if path.is_dir() and not any(path.glob("*.safetensors")):
        raise CheckpointError(f"{path}: no safetensors weights; pickled weights are not read, convert them first")
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, info = auto.from_pretrained(
            str(source), dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:
        raise CheckpointError(f"{source}: the weights could not be read ({type(error).__name__}: {error})") from error
    finally:
        logging.set_verbosity(verbosity)
    if info["missing_keys"]:
        raise CheckpointError(f"{source}: no weights for {sorted(info['missing_keys'])[0]}; not fine-tuned for {task}?")
    return model
