"""A checkpoint, loaded: model, tokenizer, labels, and what transformers makes of it.

A checkpoint is a Hugging Face directory or hub name with safetensors weights; pickled weights are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from pgb_core.checkpoints.config import architecture_of, encoder_config_of, passed_on, task_of
from pgb_core.checkpoints.files import locate, read_config, weight_files
from pgb_core.checkpoints.labels import label_names
from pgb_core.checkpoints.reference import Probe, run_probes
from pgb_core.checkpoints.tokenization import Tokenization, added_tokens, other_reading, read_tokenization, short_enough
from pgb_core.checkpoints.weights import digest_of, load_model, own_state
from pgb_core.inference.tokenizer import Tokenizer as Served
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import TASKS, Subject, Task
from pgb_core.tasks.texts import long_text


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model with all that is needed to run and describe it.

    settings: its config.json. passed_on: what of it, as transformers understands it, tells others of the model, and
    transformers' class. notes and warnings: what was read, in words. probes: what transformers itself makes of the
    probe texts, where that was asked for.
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
    architecture = architecture_of(config, source)
    task = task or task_of(config, source)
    kind = TASKS[task]
    weight_files(folder)
    hf, notes = load_model(folder, task, config.get("architectures") or [])
    encoder_config = encoder_config_of(hf.config, task)
    own = own_state(hf.state_dict(), architecture, encoder_config, source)
    model = Encoder(encoder_config)
    model.load_state_dict(own)
    labels, doubts = label_names(hf.config, source) if kind.labelled else ((), [])
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
        passed_on(hf.config.to_dict()) | {"architectures": [type(hf).__name__]},
        (*notes, *reading.notes),
        (*doubts, *reading.warnings, *([other] if other else [])),
        tuple(run_probes(hf.eval(), reading, texts, kind)) if probed else (),
    )
