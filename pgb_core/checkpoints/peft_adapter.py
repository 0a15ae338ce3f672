"""An adapter that PEFT wrote, such as LoRA: its base, its head, and both as one model.

The directory of an adapter has `adapter_config.json` and `adapter_model.safetensors`, and often a tokenizer. The base
is named by `base_model_name_or_path`: a checkpoint's directory, or a name on the hub that is in the hub's cache. A base
is never fetched, because the user has not named it. `peft` itself merges the two. `adapters.py` merges the demo's own
adapters, without `peft`.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import safe_open

from pgb_core.checkpoints.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, PREFIX
from pgb_core.checkpoints.files import (
    CONFIG,
    check_tensors,
    first_line,
    holds_weights,
    locate,
    read_config,
    read_json,
)
from pgb_core.checkpoints.kinds import refuse_other_kinds
from pgb_core.data.problems import Problem
from pgb_core.data.words import plain
from pgb_core.errors import CheckpointError, ResourceError
from pgb_core.tasks import TASKS

# What PEFT calls the tasks, and the part of a class's name that transformers has for each.
_HEADS = {
    "SEQ_CLS": "ForSequenceClassification",
    "QUESTION_ANS": "ForQuestionAnswering",
    "TOKEN_CLS": "ForTokenClassification",
    "CAUSAL_LM": "ForCausalLM",
    "SEQ_2_SEQ_LM": "ForConditionalGeneration",
    "FEATURE_EXTRACTION": "Model",
}
_NAME = "default"  # PEFT's own name for the only adapter of a model
_WRAPPING = re.compile(rf"\.(?:modules_to_save|base_layer|{_NAME})(?=\.)")


@dataclass(frozen=True)
class Adapter:
    """An adapter beside its base, as files.

    settings: adapter_config.json. own: the config.json beside it, which it need not have. shapes: of its tensors, by
    the names that the base's have.
    """

    folder: Path
    base: Path
    base_name: str
    settings: Mapping[str, Any]
    own: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    def labelling(self, config: Mapping[str, Any], output: str) -> tuple[dict[str, Any], list[str]]:
        """Names of labels and kind of problem, as settings of the model, and what is doubtful about them.

        config: the base's config.json. output: the module whose rows are the labels. A config.json beside the adapter
        goes before the base's. Nothing is set where the adapter brings no head. Raises CheckpointError.
        """
        shape = self.shapes.get(f"{output}.weight")
        if shape is None:
            return {}, []
        numbers = range(shape[0])
        problem, odd = self._problem(config, shape[0])
        made_up: dict[str, Any] = {"id2label": {str(number): f"LABEL_{number}" for number in numbers}}
        nameless = (
            f"nothing names the {len(numbers)} labels of the adapter's head; put a {CONFIG} with id2label (and "
            "problem_type) beside it"
        )
        for given, doubt in (
            (self.own, None),
            (config, f"labels are named as in the base's {CONFIG}"),
            (made_up, nameless if len(numbers) > 1 else None),
        ):
            names = given.get("id2label")
            if isinstance(names, dict) and {*map(str, names)} == {*map(str, numbers)}:
                named = {int(number): name for number, name in names.items()}
                known = given.get("label2id") or {str(name): number for number, name in named.items()}
                return {"id2label": named, "label2id": known, **problem}, [*([doubt] if doubt else []), *odd]
            if given is self.own and names:
                break
        raise CheckpointError(
            f"{self.folder / CONFIG}: id2label must name the {len(numbers)} labels of the adapter's head, numbered "
            "from 0; correct it"
        )

    def _problem(self, config: Mapping[str, Any], labels: int) -> tuple[dict[str, Any], list[str]]:
        """What the head was trained for, as a setting of the model: the base's stays where nothing else is said."""
        if self.own.get("problem_type"):
            return {"problem_type": self.own["problem_type"]}, []
        said = config.get("problem_type")
        if said == Problem.SINGLE_LABEL:  # as is taken for a head of which nothing is said
            return {}, []
        if said is not None:
            return {}, [
                f"the kind of problem, {plain(said)}, is that of the base's {CONFIG}; if the adapter was trained for "
                f"another, put a {CONFIG} with problem_type beside it"
            ]
        if labels == 1:
            read, other = "its one output is read as a probability, by sigmoid", "regression"
        else:
            read, other = f"it is read as picking one of {labels} labels, by softmax", "another kind"
        return {}, [
            f"nothing names the kind of problem of the adapter's head, so {read}; if it was trained for {other}, put a "
            f"{CONFIG} with problem_type beside the adapter"
        ]


def is_adapter(folder: Path) -> bool:
    """Whether a directory holds an adapter, and no model of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not holds_weights(folder)


def read_adapter(folder: Path) -> tuple[Adapter, dict[str, Any]]:
    """An adapter's files and its base, and config.json of the two. Raises CheckpointError.

    The architecture that config.json names is that of the adapter's task.
    """
    refuse_other_kinds(folder)
    path = folder / ADAPTER_CONFIG
    settings = read_json(path)
    if settings.get("megatron_config"):
        raise CheckpointError(f"{path}: megatron_config is set, which names code to run; train the adapter without it")
    if not settings.get("peft_type"):
        raise CheckpointError(
            f"{path}: names no peft_type, so it is no adapter of PEFT's, which alone are read (the library adapters "
            "writes others); train it with PEFT, or fine-tune the whole model"
        )
    name = settings.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise CheckpointError(f"{path}: base_model_name_or_path is missing; write the directory of the base there")
    shapes = _shapes(folder)
    base, config = _base(folder, name, settings.get("revision"))
    kind = settings.get("task_type")
    own = read_config(folder) if (folder / CONFIG).is_file() else {}
    if own.get("model_type", config.get("model_type")) != config.get("model_type"):
        raise CheckpointError(
            f"{folder / CONFIG}: is of another model type than its base {plain(name)}; which is right?"
        )
    named = own.get("architectures") or config.get("architectures") or []
    if isinstance(kind, str) and kind in _HEADS:
        named = [_HEADS[kind]]
    elif not own and not any(task.auto in name for task in TASKS.values() for name in named):
        named = []  # how the base was trained says nothing of the adapter
    return Adapter(folder, base, plain(name), settings, own, shapes), {**config, "architectures": named}


def attach(model: Any, adapter: Adapter, missing: Iterable[str]) -> Any:
    """transformers' model of the base with the adapter's layers in it, wrapped by peft.

    missing: names of parameters that the base has no weights for. Raises CheckpointError when the adapter does not
    bring them or does not fit, ResourceError without peft.
    """
    peft = _peft()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = peft.PeftConfig.from_pretrained(str(adapter.folder))
            _refuse_unlike(config, adapter)
            _refuse_absent(missing, adapter)
            _fit_vocabulary(model, adapter)
            config.inference_mode = True
            wrapped = peft.get_peft_model(model, config, _NAME)
            names = {name: _theirs(name) for name, _ in wrapped.named_parameters()}
            _refuse_lost((theirs for ours, theirs in names.items() if ".modules_to_save." in ours), adapter)
            result = wrapped.load_adapter(str(adapter.folder), _NAME, torch_device="cpu")
    except CheckpointError:
        raise
    except Exception as error:  # whatever settings or weights that do not fit lead to
        raise CheckpointError(
            f"{adapter.folder}: peft cannot put it on its base {adapter.base_name} ({first_line(error)}); is that the "
            "base that it was trained on?"
        ) from error
    _refuse_lost(map(_theirs, result.missing_keys), adapter)
    strange = [key for key in result.unexpected_keys if _theirs(key) not in names.values()]
    if strange:
        raise CheckpointError(
            f"{adapter.folder / ADAPTER_WEIGHTS}: holds {plain(strange[0])}, for which the base "
            f"{adapter.base_name} has no place; is that the base that it was trained on?"
        )
    return wrapped.eval()


def merged(wrapped: Any, adapter: Adapter) -> Any:
    """transformers' model with the adapter added to its weights; `wrapped` stays as it is. Raises CheckpointError."""
    try:
        return copy.deepcopy(wrapped).merge_and_unload(safe_merge=True)
    except Exception as error:  # kinds that add tokens or layers have nothing to merge
        kind = adapter.settings.get("peft_type")
        raise CheckpointError(
            f"{adapter.folder}: an adapter of the kind {kind!a} cannot be merged into its base ({first_line(error)}); "
            "train one that can, such as LORA"
        ) from error


def _base(folder: Path, name: str, revision: object) -> tuple[Path, dict[str, Any]]:
    how = f"name its directory in base_model_name_or_path of {ADAPTER_CONFIG}"
    if not Path(name).is_absolute():
        at = f" --revision {plain(revision)}" if isinstance(revision, str) else ""
        how += f", or fetch it into the hub's cache with hf download {plain(name)}{at}"
    try:
        base = locate(name, revision if isinstance(revision, str) else None, fetch=False)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: is an adapter whose base {plain(name)} is not here; {how}") from error
    if is_adapter(base):
        raise CheckpointError(
            f"{folder}: is an adapter whose base {plain(name)} is an adapter, too; merge that into its own base with "
            "peft's merge_and_unload() and save_pretrained()"
        )
    return base, read_config(base, as_base=True)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        other = "adapter_model.bin"
        said = f"{other} is a pickle, which is never read; " if (folder / other).is_file() else ""
        raise CheckpointError(
            f"{folder}: no {ADAPTER_WEIGHTS}; {said}load the adapter where it was trained and save it again with "
            "save_pretrained()"
        )
    check_tensors(path)
    with safe_open(str(path), "pt") as file:
        return {_theirs(key): tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


def _theirs(key: str) -> str:
    """The base's name of a tensor that an adapter's file or a wrapped model names."""
    return _WRAPPING.sub("", key.removeprefix(PREFIX))


def _fit_vocabulary(model: Any, adapter: Adapter) -> None:
    """Tokens that were added in training have rows in the adapter's table."""
    table = model.get_input_embeddings().weight
    name = next(name for name, parameter in model.named_parameters() if parameter is table)
    rows = adapter.shapes.get(name, table.shape)[0]
    if rows != table.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)


def _refuse_unlike(config: Any, adapter: Adapter) -> None:
    """Raises CheckpointError for a kind that is not merged, and for settings that peft would leave out."""
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise CheckpointError(
            f"{adapter.folder}: an adapter of the kind {adapter.settings.get('peft_type')} adds to the input, so it "
            "cannot be merged into its base; train one that can, such as LORA"
        )
    known = {field.name for field in dataclasses.fields(config)} | {"peft_version"}
    unknown = sorted(name for name, value in adapter.settings.items() if value and name not in known)
    if unknown:
        raise CheckpointError(
            f"{adapter.folder / ADAPTER_CONFIG}: sets {unknown[0]}, which the peft that is installed does not know; "
            "pip install --upgrade peft"
        )


def _refuse_absent(missing: Iterable[str], adapter: Adapter) -> None:
    name = next((name for name in sorted(missing) if name not in adapter.shapes), None)
    if name is not None:
        raise CheckpointError(
            f"{adapter.folder}: neither the adapter nor its base {adapter.base_name} has {name}; train the adapter "
            f"again with {name.rpartition('.')[0]!r} in modules_to_save"
        )


def _refuse_lost(names: Iterable[str], adapter: Adapter) -> None:
    name = next((name for name in names if name not in adapter.shapes), None)
    if name is not None:
        raise CheckpointError(
            f"{adapter.folder / ADAPTER_WEIGHTS}: has no {plain(name)}, which {ADAPTER_CONFIG} asks for; save the "
            "adapter again"
        )


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise ResourceError(
            "the checkpoint is an adapter, and peft is not installed; pip install '.[peft]' in a clone of pgb-serve"
        ) from error
    return peft  # type: ignore[no-any-return]
