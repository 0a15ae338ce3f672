"""Reads the weights of a checkpoint as transformers does, and gives them this project's names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.architectures.base import Architecture
from pgb_core.checkpoints.files import first_line, unread
from pgb_core.checkpoints.peft_adapter import Adapter, attach, merged
from pgb_core.errors import CheckpointError
from pgb_core.model.encoder import Encoder, EncoderConfig
from pgb_core.tasks import TASKS


@dataclass(frozen=True)
class Pretrained:
    """What transformers makes of a checkpoint, in float32.

    reference: its own model, an adapter's layers in it where there is one. state: the tensors of the model, an adapter
    merged into them. config: transformers' settings of it. notes: what is to be said of its weights.
    """

    reference: Any
    state: Mapping[str, Tensor]
    config: Any
    notes: list[str]


def load_model(
    folder: Path, task: str, named: Sequence[str], adapter: Adapter | None, changes: Mapping[str, Any]
) -> Pretrained:
    """The weights of a directory, by transformers, with an adapter for them. Raises CheckpointError.

    changes: settings of the model that are others than in its config.json.
    """
    model, info = _read(folder, task, adapter is not None, changes)
    said = unread(info["unexpected_keys"], folder)
    notes = [said] if said else []
    missing = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    if adapter is not None:
        wrapped = attach(model, adapter, missing)
        whole = merged(wrapped, adapter)
        notes.append(f"the adapter is merged into its base {adapter.base_name}")
        return Pretrained(wrapped.get_base_model(), whole.state_dict(), whole.config, notes)
    if missing:
        raise CheckpointError(
            f"{folder}: no weights for {sorted(missing)[0]}; not fine-tuned for {task}? Its config names "
            f"{' '.join(named) or 'no architecture'}"
        )
    return Pretrained(model, model.state_dict(), model.config, notes)


def _read(folder: Path, task: str, adapted: bool, changes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """transformers' model of a directory, and what it says of the loading. Raises CheckpointError.

    adapted: an adapter may bring a head of another shape than the base has.
    """
    import transformers

    auto = getattr(transformers, f"AutoModelFor{TASKS[task].auto}")
    try:
        with _silent(transformers.utils.logging):
            model, info = auto.from_pretrained(
                str(folder),
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=adapted,
                trust_remote_code=False,
                local_files_only=True,
                **changes,
            )
    except Exception as error:
        if "mismatched" in str(error):
            raise CheckpointError(
                f"{folder}: the weights have other shapes than config.json asks for; is it this checkpoint's?"
            ) from error
        raise CheckpointError(
            f"{folder}: the weights could not be read ({first_line(error)}); save the checkpoint again"
        ) from error
    return model, info


@contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Inside, transformers tells errors alone."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()


def own_state(
    state: Mapping[str, Tensor], architecture: str, config: EncoderConfig, source: str | Path
) -> dict[str, Tensor]:
    """The checkpoint's tensors by our names, in float32. Raises CheckpointError where one does not fit."""
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in Encoder(config).state_dict().items()}
    names = parameter_names(ARCHITECTURES[architecture], config, wanted)
    missing = [theirs for theirs in names.values() if theirs not in state]
    if missing:
        raise CheckpointError(
            f"{source}: lacks {missing[0]} and {len(missing) - 1} more; is it a {config.task} checkpoint?"
        )
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


def parameter_names(architecture: Architecture, config: EncoderConfig, names: Iterable[str]) -> dict[str, str]:
    """The names of a dense `Encoder`'s tensors -> those of the checkpoint."""
    classifier = architecture.classifier
    head = {"dense": classifier.dense, "output": classifier.output}
    head = {"output": architecture.qa_output} if TASKS[config.task].per_token else head
    modules = {f"head.{ours}": theirs for ours, theirs in head.items()}
    modules |= {f"embeddings.{ours}": f"{architecture.prefix}.{at}" for ours, at in architecture.embeddings.items()}
    for n in range(config.layers):
        layer = f"{architecture.prefix}.{architecture.layer.format(n=n)}"
        modules |= {f"layers.{n}.{ours}": f"{layer}.{theirs}" for ours, theirs in architecture.sites.items()}
    split = {name: name.rsplit(".", 1) for name in names}
    return {name: f"{modules[module]}.{parameter}" for name, (module, parameter) in split.items()}


def digest_of(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and float32 bytes, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().contiguous().cpu()
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
