"""Loads a checkpoint: its model, tokenizer and labels, and transformers' own model to compare with.

A checkpoint is a Hugging Face directory or hub name with safetensors weights, or an adapter for one; pickled weights
are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.checkpoints.config import architecture_of, encoder_config_of, passed_on, task_of
from pgb_core.checkpoints.files import locate, read_config, weight_files
from pgb_core.checkpoints.kinds import scored_otherwise, unused_prompt
from pgb_core.checkpoints.labels import check_labels, check_problem, label_names, unread_names
from pgb_core.checkpoints.peft_adapter import Adapter, is_adapter, read_adapter
from pgb_core.checkpoints.reference import Probe, run_probes
from pgb_core.checkpoints.tokenization import (
    VOCABULARIES,
    Tokenization,
    added_tokens,
    other_reading,
    read_tokenization,
    short_enough,
)
from pgb_core.checkpoints.weights import digest_of, load_model, own_state
from pgb_core.inference.tokenizer import Tokenizer as Served
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import TASKS, Subject, Task
from pgb_core.tasks.texts import Text, long_text


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with all that is needed to run and describe it.

    settings: its config.json. passed_on: what of it, as transformers understands it, tells others of the model, and
    transformers' class. notes and warnings: what was read, in words. probes: what transformers itself makes of the
    probe texts, where that was asked for. digest: of the weights as they were read. kept: the ids that the tokens had
    before others were taken out of the vocabulary, None where none were.
    """

    model: Encoder
    reading: Tokenization
    architecture: str
    labels: tuple[str, ...]
    problem_type: str | None
    digest: str
    source: str
    settings: Mapping[str, Any]
    passed_on: Mapping[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    probes: tuple[Probe, ...]
    kept: tuple[int, ...] | None = None

    @property
    def key(self) -> str:
        """A digest of the weights and of the vocabulary that is left."""
        if self.kept is None:
            return self.digest
        return hashlib.sha256(repr((self.digest, self.kept)).encode()).hexdigest()

    @cached_property
    def meaning(self) -> str:
        """A digest of what inputs and outputs mean: the tokenizer with its cut, the names of the labels, the problem.

        The weights are in `key`. Two checkpoints of one key and other meanings answer otherwise.
        """
        reading = json.loads(self.reading.file())
        said = (self.task.name, self.labels, self.problem_type, self.reading.top_type, reading)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

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


def name_of(source: str | Path) -> str:
    """What a checkpoint is called: a directory by its own name, also where a path such as `.` leaves that out.

    A name on the hub stays as it is.
    """
    path = Path(source)
    if not path.exists():
        return str(source)
    return path.name if path.name not in ("", "..") else path.resolve().name


@dataclass(frozen=True)
class Parts:
    """Where the parts of a checkpoint lie: all in one directory, or an adapter in one and its base in another.

    config: config.json. weights, vocabulary: the directories of the weights and of the tokenizer.
    """

    config: dict[str, Any]
    weights: Path
    vocabulary: Path
    adapter: Adapter | None


def parts_of(folder: Path) -> Parts:
    """The parts of the checkpoint in a directory. Raises CheckpointError where one is missing or of another kind."""
    if not is_adapter(folder):
        return Parts(read_config(folder), folder, folder, None)
    adapter, config = read_adapter(folder)
    own = any((folder / name).is_file() for name in VOCABULARIES)
    return Parts(config, adapter.base, folder if own else adapter.base, adapter)


def load_checkpoint(source: str | Path, task: str | None = None, probed: bool = False) -> Checkpoint:
    """Load a Hugging Face directory or hub name, or an adapter that PEFT wrote with its base, in float32.

    task: classification or qa; by default what the checkpoint's config says it was trained for. probed: run the probe
    texts through transformers too, to hold against what is made of the checkpoint.
    Raises CheckpointError when it is missing, unsupported, damaged or has NaN weights, ResourceError when it is an
    adapter and peft is not installed.
    """
    parts = parts_of(locate(source))
    architecture = architecture_of(parts.config, source)
    task = task or task_of(parts.config, source)
    kind = TASKS[task]
    weight_files(parts.weights)
    changes, doubts = _labelling(parts, architecture, source) if kind.labelled else ({}, [])
    hf = load_model(parts.weights, task, parts.config.get("architectures") or [], parts.adapter, changes)
    encoder_config = encoder_config_of(hf.config, task)
    own = own_state(hf.state, architecture, encoder_config, source)
    model = Encoder(encoder_config)
    model.load_state_dict(own)
    labels, problem, odd = _head(hf.config, parts, source) if kind.labelled else ((), None, [])
    reading = read_tokenization(parts.vocabulary, encoder_config)
    texts = _probe_texts(parts.vocabulary, reading, kind)
    other = other_reading(parts.vocabulary, reading.tokenizer, texts)
    return Checkpoint(
        model=model.eval(),
        reading=reading,
        architecture=architecture,
        labels=labels,
        problem_type=problem,
        digest=digest_of(own),
        source=name_of(source),
        settings=parts.config,
        passed_on=passed_on(hf.config.to_dict()) | {"architectures": [type(hf.reference).__name__]},
        notes=(*hf.notes, *reading.notes),
        warnings=(*doubts, *odd, *reading.warnings, *([other] if other else [])),
        probes=tuple(run_probes(hf.reference.eval(), reading, texts, kind)) if probed else (),
    )


def _labelling(parts: Parts, architecture: str, source: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Settings of the head that an adapter changes, and what is doubtful in the names of the labels.

    Raises CheckpointError when the head or its labels do not fit together.
    """
    config, adapter = parts.config, parts.adapter
    if adapter is not None:
        check_problem({**config, **adapter.own}, source)
        return adapter.labelling(config, ARCHITECTURES[architecture].classifier.output)
    check_problem(config, source)
    check_labels(config, source)
    return {}, unread_names(config)


def _head(config: Any, parts: Parts, source: str | Path) -> tuple[tuple[str, ...], str | None, list[str]]:
    """The labels of the head, its problem, and what is odd in either. config: transformers' settings of the model."""
    labels, odd = label_names(config, source)
    problem = getattr(config, "problem_type", None)
    odd += scored_otherwise(parts.weights, parts.config, problem, len(labels))
    odd += unused_prompt(parts.adapter.folder if parts.adapter else parts.weights)
    return labels, problem, odd


def _probe_texts(vocabulary: Path, reading: Tokenization, kind: Task) -> Sequence[Text]:
    """The texts by which the model is held against transformers. vocabulary: the directory of the tokenizer."""
    added = [*map(str, reading.reference.get_added_vocab()), *added_tokens(vocabulary)]
    texts = kind.probes(long_text(reading.max_length), sorted(set(added)))
    return short_enough(reading, texts) if kind.windows else texts
