"""Where a BERT, RoBERTa or DistilBERT checkpoint keeps its parts. No other file knows.

A checkpoint is a Hugging Face directory or hub name with safetensors weights; pickled weights are
refused. Each architecture is one table from our names to its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pgb_core.artifact import writable
from pgb_core.checkpoints.files import first_line, locate, read_config, unread, weight_files
from pgb_core.checkpoints.reference import Probe, ask
from pgb_core.checkpoints.tokenization import Tokenization, added_tokens, other_reading, read_tokenization, short_enough
from pgb_core.errors import CheckpointError
from pgb_core.inference.tokenizer import Tokenizer as Served
from pgb_core.model.blocks import ACTIVATIONS
from pgb_core.model.encoder import Encoder, EncoderConfig
from pgb_core.tasks import TASKS, Subject, Task
from pgb_core.tasks.texts import long_text


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
_MOST_CHARACTERS = 200_000  # of all names of labels together


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with all that is needed to run and describe it.

    settings: its config.json. notes and warnings: what was read, in words. probes: what transformers itself makes of
    the probe texts, where that was asked for.
    """

    model: Encoder
    reading: Tokenization
    architecture: str
    labels: tuple[str, ...]
    problem_type: str | None
    digest: str
    source: str
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    probes: tuple[Probe, ...]

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the artifact carries, without padding or truncation set."""
        return self.reading.tokenizer

    @property
    def served_tokenizer(self) -> Served:
        """The artifact's tokenizer, as the service reads texts with it."""
        return Served(self.reading.file().decode(), self.max_length)

    @property
    def max_length(self) -> int:
        """Tokens at which an input is cut."""
        return self.reading.max_length

    @property
    def task(self) -> Task:
        """What it is for."""
        return TASKS[self.model.config.task]

    @property
    def subject(self) -> Subject:
        """What must be known of it to read rows for it and to score it."""
        return Subject(self.task, self.labels, self.problem_type, self.reading.side)


def load_checkpoint(source: str | Path, task: str | None = None, probed: bool = False) -> Checkpoint:
    """Load a Hugging Face directory or hub name in float32.

    task: classification or qa; by default what the checkpoint's config says it was trained for. probed: run the probe
    texts through transformers too, to hold against what is made of the checkpoint.
    Raises CheckpointError when it is missing, unsupported, damaged or has NaN weights.
    """
    folder = locate(source)
    config = read_config(folder)
    architecture = _architecture(config, source)
    task = task or _task_of(config, source)
    kind = TASKS[task]
    weight_files(folder)
    hf, notes = _load_model(folder, task, config.get("architectures") or [])
    encoder_config = encoder_config_of(hf.config, task)
    own = _own_state(hf.state_dict(), architecture, encoder_config, source)
    model = Encoder(encoder_config)
    model.load_state_dict(own)
    labels, doubts = _labels(hf.config, source) if kind.labelled else ((), [])
    reading = read_tokenization(folder, encoder_config)
    added = [*map(str, reading.reference.get_added_vocab()), *added_tokens(folder)]
    texts = kind.probes(long_text(reading.max_length), sorted(set(added)))
    if kind.windows:
        texts = short_enough(reading, texts)
    other = other_reading(folder, reading.tokenizer, texts)
    return Checkpoint(
        model.eval(),
        reading,
        architecture,
        labels,
        getattr(hf.config, "problem_type", None) if kind.labelled else None,
        digest_of(own),
        Path(source).name if Path(source).exists() else str(source),
        config,
        (*notes, *reading.notes),
        (*doubts, *reading.warnings, *([other] if other else [])),
        tuple(ask(hf.eval(), reading, texts, kind)) if probed else (),
    )


def _own_state(
    state: Mapping[str, Tensor], architecture: str, config: EncoderConfig, source: str | Path
) -> dict[str, Tensor]:
    """The checkpoint's tensors by our names, in float32."""
    names = parameter_names(architecture, config)
    missing = [theirs for theirs in names.values() if theirs not in state]
    if missing:
        raise CheckpointError(
            f"{source}: lacks {missing[0]} and {len(missing) - 1} more; is it a {config.task} checkpoint?"
        )
    wanted = {name: value.shape for name, value in Encoder(config).state_dict().items()}
    own = {ours: state[theirs].float() for ours, theirs in names.items()}
    for ours, theirs in names.items():
        if own[ours].shape != wanted[ours]:
            raise CheckpointError(
                f"{source}: {theirs} has the shape {list(own[ours].shape)}, where its config asks for "
                f"{list(wanted[ours])}; is config.json this checkpoint's?"
            )
        if not torch.isfinite(own[ours]).all():
            raise CheckpointError(f"{source}: {theirs} holds NaN or infinity; the checkpoint is damaged")
    return own


def _labels(config: Any, source: str | Path) -> tuple[tuple[str, ...], list[str]]:
    """Names by index, and what is odd about them."""
    try:
        labels = tuple(str(config.id2label[number]) for number in range(config.num_labels))
    except KeyError as error:
        raise CheckpointError(f"{source}: id2label has no {error}; number labels from 0") from error
    twice = next((name for name in labels if labels.count(name) > 1), None)
    if twice is not None or "" in labels:
        raise CheckpointError(
            f"{source}: id2label has " + ("an empty name" if "" in labels else f"{twice!r} twice") + "; name each label"
        )
    odd = next((name for name in labels if not writable(name)), None)
    if odd is not None:
        raise CheckpointError(f"{source}: id2label has the name {odd!a}, which is no text in UTF-8; name it otherwise")
    if sum(map(len, labels)) > _MOST_CHARACTERS:
        raise CheckpointError(
            f"{source}: the names of its {len(labels)} labels are too long for a manifest; shorten them"
        )
    if len(labels) != len(config.id2label):
        raise CheckpointError(f"{source}: id2label has {len(config.id2label)} names, the head {len(labels)} labels")
    theirs = {str(name): number for name, number in (config.label2id or {}).items()}
    crossed = sorted(name for n, name in enumerate(labels) if theirs.get(name, n) != n)
    if not crossed:
        return labels, []
    return labels, [
        f"label2id and id2label disagree on {', '.join(crossed[:4])}; id2label is followed, as transformers does"
    ]


def encoder_config_of(config: Any, task: str) -> EncoderConfig:
    """Our shape of a Hugging Face config object. Raises CheckpointError when it is unsupported."""
    architecture = ARCHITECTURES[_architecture(config.to_dict(), config.model_type)]
    fields = {ours: getattr(config, theirs) for ours, theirs in architecture.fields.items()}
    for ours, theirs in architecture.fields.items():
        if ours != "activation" and (type(fields[ours]) is not int or fields[ours] < 1):
            raise CheckpointError(f"config.json: {theirs} is {fields[ours]!r}; it must be a whole number, at least 1")
    if fields["activation"] not in ACTIVATIONS:
        raise CheckpointError(f"activation {fields['activation']!r} is not supported; known: {', '.join(ACTIVATIONS)}")
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise CheckpointError("relative position embeddings are not supported; use a checkpoint with absolute ones")
    return EncoderConfig(
        vocab=config.vocab_size,
        positions=config.max_position_embeddings,
        types=getattr(config, "type_vocab_size", 0) if "token_type" in architecture.embeddings else 0,
        norm_eps=_norm_eps(config, architecture),
        head_activation=None if TASKS[task].per_token else architecture.head_activation,
        labels=config.num_labels if TASKS[task].labelled else len(TASKS[task].outputs),
        task=task,
        pad_id=config.pad_token_id or 0,
        counts_padding=architecture.counts_padding,
        **fields,
    )


def _norm_eps(config: Any, architecture: Architecture) -> float:
    """DistilBERT's is fixed, whatever its config says."""
    if "token_type" not in architecture.embeddings:
        return 1e-12
    found = config.layer_norm_eps
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < 1:
        raise CheckpointError(f"config.json: layer_norm_eps is {found!r}; it must be a small number above 0")
    return float(found)


def parameter_names(architecture: str, config: EncoderConfig) -> dict[str, str]:
    """Our parameter names -> the checkpoint's, for every tensor of a dense `Encoder`."""
    table = ARCHITECTURES[architecture]
    modules = {f"embeddings.{ours}": f"{table.prefix}.embeddings.{theirs}" for ours, theirs in table.embeddings.items()}
    for n in range(config.layers):
        base = f"{table.prefix}.{table.layer.format(n=n)}"
        modules |= {f"layers.{n}.{ours}": f"{base}.{theirs}" for ours, theirs in table.sites.items()}
    head = {"output": "qa_outputs"} if TASKS[config.task].per_token else table.classifier
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


def _architecture(config: Mapping[str, Any], source: object) -> str:
    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        raise CheckpointError(f"{source}: model type {kind!r} is not supported; use one of {', '.join(ARCHITECTURES)}")
    return kind


def _task_of(config: Mapping[str, Any], source: object) -> str:
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
    raise CheckpointError(f"{source}: its config does not name the task it was trained for; say --task")


def _load_model(folder: Path, task: str, named: Sequence[str]) -> tuple[Any, list[str]]:
    """transformers' own model, and what is to be said of its weights."""
    import transformers

    auto = getattr(transformers, f"AutoModelFor{TASKS[task].auto}")
    logging = transformers.utils.logging
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, info = auto.from_pretrained(
            str(folder),
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except Exception as error:
        if "mismatched" in str(error):
            raise CheckpointError(
                f"{folder}: the weights have other shapes than config.json asks for; is it this checkpoint's?"
            ) from error
        raise CheckpointError(
            f"{folder}: the weights could not be read ({first_line(error)}); save the checkpoint again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
    if info["missing_keys"]:
        raise CheckpointError(
            f"{folder}: no weights for {sorted(info['missing_keys'])[0]}; not fine-tuned for {task}? Its config names "
            f"{' '.join(named) or 'no architecture'}"
        )
    said = unread(info["unexpected_keys"], folder)
    return model, [said] if said else []
