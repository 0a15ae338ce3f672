"""The files of a checkpoint: found here or fetched from the hub, and checked before weights are read from them.

A checkpoint is a directory that `save_pretrained` wrote: `config.json`, a tokenizer, and weights in safetensors files.
Other files in the directory are never read, because a pickle can run code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from pgb_core.artifact import MANIFEST, PLAN, UNFETCHED, is_pointer, writable
from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.kinds import quantised, refuse_other_kinds, without_config, without_weights
from pgb_core.errors import CheckpointError
from pgb_core.hub import PREFIX

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# What is fetched from the hub: weights in safetensors files, settings, and vocabularies of every kind.
_FETCHED = ("*.safetensors", "*.json", "vocab.txt", "merges.txt", "*.model")
_JARGON = re.compile(
    r"object has no|NoneType|<class|not subscriptable|unsupported operand|not supported between|PyObject"
)
_FLOATS = {"F64", "F32", "F16", "BF16"}
# Settings that change which weights are read, or what they mean.
_REFUSED: dict[str, Callable[[object], str]] = {
    "quantization_config": quantised,
    "pruned_heads": lambda _: (
        "heads are left out of some layers, and layers are read whole; name the checkpoint from which it was made"
    ),
    "add_cross_attention": lambda _: "that is of a decoder, and only encoders are read; use a checkpoint of one",
    "transformers_weights": lambda _: f"it names another weight file; save the weights as {WEIGHTS}",
}


def locate(source: str | Path, revision: str | None = None, fetch: bool = True) -> Path:
    """The directory of a checkpoint; a hub name is fetched into the hub's own cache. Raises CheckpointError.

    revision: of the hub's repository, by default the newest. fetch: False to take what is in that cache and never ask
    the hub.
    """
    path = Path(source)
    if str(source).startswith(PREFIX):
        raise CheckpointError(
            f"{source}: is the address of an artifact, and no checkpoint; write a checkpoint of the hub as OWNER/NAME"
        )
    if not writable(str(path)):
        raise CheckpointError(
            f"{str(source)!a}: the path is no text in UTF-8, which the weights' reader needs; rename it"
        )
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{source}: is a file; name the directory that save_pretrained wrote")
    if path.is_absolute() or str(source).startswith("."):
        raise CheckpointError(f"{source}: no such directory; check the path")
    import huggingface_hub

    try:
        # Files of the repository's own folder: others hold the same model for other programs.
        return Path(
            huggingface_hub.snapshot_download(
                str(source),
                revision=revision,
                allow_patterns=list(_FETCHED),
                ignore_patterns=["*/*"],
                local_files_only=not fetch,
            )
        )
    except Exception as error:  # the hub's errors, those of the network, and of the cache
        if not fetch:
            raise CheckpointError(
                f"{source}: neither a directory here nor a model in the hub's cache; download it and name the directory"
            ) from error
        raise CheckpointError(
            f"{source}: neither a directory here nor a model that the hub gave; check the name and the connection, or "
            "download it and name the directory"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError when the file holds something else."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        refuse_pointer(path)
        raise CheckpointError(f"{path}: not JSON ({_plain(error)}); save the checkpoint again") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: not a JSON object; save the checkpoint again")
    return found


def refuse_pointer(path: Path) -> None:
    """Raises CheckpointError where Git LFS left only a pointer in place of a file."""
    if path.is_file() and is_pointer(path):
        raise CheckpointError(f"{path}: {UNFETCHED}")


def read_config(folder: Path, as_base: bool = False) -> dict[str, Any]:
    """`config.json`. Raises CheckpointError when it is missing, damaged, or asks for what is not supported.

    as_base: of the base of an adapter, whose own head is not wanted.
    """
    refuse_other_kinds(folder, as_base)
    if (folder / MANIFEST).is_file() and (folder / PLAN).is_file():
        raise CheckpointError(f"{folder}: is an artifact of pgb compress; name the checkpoint that it was made from")
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no {CONFIG}; {without_config(folder)}")
    config = read_json(folder / CONFIG)
    for name, reason in _REFUSED.items():
        if config.get(name):
            raise CheckpointError(f"{folder / CONFIG}: {name} is set: {reason(config[name])}")
    refuse_own_code(folder / CONFIG, config)
    named = config.get("architectures")
    if named is not None and not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        raise CheckpointError(f"{folder / CONFIG}: architectures must be a list of names; save the checkpoint again")
    return config


def refuse_own_code(path: Path, settings: Mapping[str, Any]) -> None:
    """Raises CheckpointError where a file of settings names code of the checkpoint's own."""
    if settings.get("auto_map"):
        raise CheckpointError(
            f"{path}: auto_map names code of its own, which is never run; use a checkpoint of an architecture and a "
            "tokenizer that transformers has"
        )


def holds_weights(folder: Path) -> bool:
    """Whether a directory has weights of a whole model."""
    return (folder / WEIGHTS).exists() or (folder / INDEX).exists()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights, each opened once. Raises CheckpointError.

    An index may name safetensors files of its own directory, and nothing else.
    """
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder}: holds a model and an adapter; merge them with peft's merge_and_unload(), or remove the adapter"
        )
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).exists():
        files = _indexed(folder)
    else:
        raise CheckpointError(f"{folder}: no safetensors weights ({WEIGHTS}); {without_weights(folder)}")
    held: dict[str, Path] = {}
    for file in files:
        for name in check_tensors(file):
            if held.setdefault(name, file) != file:
                raise CheckpointError(
                    f"{folder}: {held[name].name} and {file.name} both hold {name}; which is right? Copy the whole "
                    "directory again"
                )
    return files


def _indexed(folder: Path) -> list[Path]:
    path = folder / INDEX
    table = read_json(path).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise CheckpointError(f"{path}: has no weight_map of tensors to files; save the checkpoint again")
    names = sorted(set(table.values()))
    for name in names:
        if PurePosixPath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{path}: names {name!r}; only safetensors files of the same directory are read, convert it first"
            )
        if not (folder / name).is_file():
            raise CheckpointError(f"{path}: names {name}, which is missing; copy the whole directory")
    return [folder / name for name in names]


def check_tensors(path: Path) -> list[str]:
    """The names of a file's tensors. Raises CheckpointError when it is no safetensors file, or they are no floats."""
    try:
        with safe_open(str(path), "pt") as file:
            names = list(file.keys())
            for name in names:
                kind = file.get_slice(name).get_dtype()
                if kind not in _FLOATS and "position_ids" not in name:
                    raise CheckpointError(
                        f"{path}: {name} is of type {kind}; only floating-point weights are read, not quantised ones"
                    )
    except (SafetensorError, OSError) as error:
        refuse_pointer(path)
        raise CheckpointError(f"{path}: not a safetensors file, or a part of one; copy it again") from error
    return names


def unread(names: set[str] | list[str], folder: Path) -> str | None:
    """What to say of tensors that the model has no place for. Raises CheckpointError when they change the model."""
    for name in sorted(names):
        if any(mark in name for mark in ("lora_", "adapter", "ia3_", ".SCB", "absmax", "weight_scale", "qweight")):
            raise CheckpointError(
                f"{folder}: {name} belongs to an adapter or to quantised weights, which change the model; merge them "
                "and save the plain weights"
            )
    stems = {name.partition(".")[0] for name in names}
    layer = next((name for name in sorted(names) if ".layer." in name and "position_ids" not in name), None)
    if layer is not None and len(stems) == 1 and not stems & {each.prefix for each in ARCHITECTURES.values()}:
        raise CheckpointError(
            f"{folder}: the names of its tensors begin with {stems.pop()}., as those of a model within another do "
            "(DataParallel, torch.compile, Lightning); save the model within, with its save_pretrained()"
        )
    if layer is not None:
        raise CheckpointError(
            f"{folder}: holds {layer}, for which the model that {CONFIG} describes has no place; is {CONFIG} this "
            "checkpoint's?"
        )
    extra = sorted(name for name in names if "position_ids" not in name)
    if not extra:
        return None
    return f"{len(extra)} tensors are not read, such as {extra[0]}: the model has no place for them"


def first_line(error: BaseException) -> str:
    """What another library's error says, short; what only its authors understand is said in other words."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return "a value in its files is of the wrong kind" if _JARGON.search(line) else line


def _plain(error: Exception) -> str:
    line = getattr(error, "lineno", None)
    return f"line {line}" if line else "it is no text in UTF-8 or is nested too deeply"
