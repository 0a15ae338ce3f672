"""Every setting of a compression, frozen and checked."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pgb_core.errors import ConfigError

_CHOICES = {
    "task": ("classification", "qa"),
    "grouping": ("shared", "disjoint"),
    "budget": ("weights", "flops"),
    "device": ("auto", "cpu", "cuda"),
    "target": ("cpu", "gpu"),
    "labels": ("names", "ids", "vector"),
}
_MAY_BE_UNSAID = ("task", "labels")
# Settings that say where and how a run goes and what is written beside it, not what comes of it.
_NOT_IN_DIGEST = ("out", "resume", "force", "eval", "weights", "threads", "trust_labels")


@dataclass(frozen=True)
class CompressConfig:
    """What `pgb compress` was asked for.

    keep: share of encoder weights (or FLOPs, by `budget`) that stays; with 1 the dense model is
    exported as it is, and no data is needed. train: labelled rows for re-finetuning; calibrate: rows,
    labelled or not, for scores and compensation (train by default); without train the re-finetuning
    learns from the dense model on them. samples: rows of it that are used. max_length: tokens at which
    those rows are cut (128, questions with a window of context 192).
    text_column, pair_column, label_column: columns of a table or keys of JSON, where their names do not say it;
    several label columns hold 0 or 1 each. labels: names, ids or vector, where a file could be read in two ways.
    trust_labels: go on though the dense model contradicts the labels.
    epochs: passes of re-finetuning. distill: learn from the dense model too. from_predictions: score
    with labels drawn from the model itself, as is done anyway when there are none. learning_rate: peak;
    by default 1e-4 / sqrt(keep). tokens: a step's padded tokens. ridge: pull of the compensation toward
    the old weights. passes and g_max: of the search for groups, and most `disjoint` groups of a matrix.
    weights: write the PyTorch model's
    tensors too. threads: to compute on; by default the cores that this process may use, and in a run that
    takes over another's stages as many as that one had: sums depend on it in their last bits.
    checkpoint_every: steps between states that another run can go on from. resume: True goes on with a
    stopped run of the same settings and data, or refuses; None takes over what fits of it; False starts
    anew. force: replace the artifact that stands at `out`.
    """

    checkpoint: str
    out: str
    task: str | None = None
    keep: float = 0.5
    budget: str = "weights"
    grouping: str = "shared"
    train: str | None = None
    calibrate: str | None = None
    eval: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: tuple[str, ...] = ()
    labels: str | None = None
    trust_labels: bool = False
    epochs: float = 3.0
    distill: bool = True
    from_predictions: bool = False
    samples: int = 1024
    max_length: int | None = None
    learning_rate: float | None = None
    tokens: int = 1024
    ridge: float = 0.01
    passes: int = 6
    g_max: int = 6
    device: str = "auto"
    target: str = "cpu"
    weights: bool = False
    threads: int | None = None
    seed: int = 0
    checkpoint_every: int = 200
    resume: bool | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for setting in fields(self):  # 3 and 3.0 are the same setting, and have the same digest
            value = getattr(self, setting.name)
            if "float" in str(setting.type) and isinstance(value, int):
                object.__setattr__(self, setting.name, float(value))
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed and not (name in _MAY_BE_UNSAID and value is None):
                raise ConfigError(f"{name} {value!r} is unknown; use one of {', '.join(allowed)}")
        if not 0.01 <= self.keep <= 1:
            raise ConfigError(f"keep {self.keep:g} is out of range; use a share from 0.01 to 1")
        if not 0 <= self.epochs <= 1000:
            raise ConfigError(f"epochs {self.epochs:g} is out of range; use 0 (none) to 1000")
        if not 0 < self.ridge <= 1000:
            raise ConfigError(f"ridge {self.ridge:g} is out of range; use a number above 0, at most 1000")
        if not 0 <= self.seed < 1 << 32:
            raise ConfigError(f"seed {self.seed} is out of range; use 0 to {(1 << 32) - 1}")
        if self.max_length is not None and self.max_length < 16:
            raise ConfigError(f"max_length {self.max_length} is out of range; use 16 tokens or more")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise ConfigError(f"threads {self.threads} is out of range; use 1 to 1024")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate {self.learning_rate:g} is out of range; use one between 0 and 1")
        for name, low in (("samples", 1), ("tokens", 16), ("passes", 1), ("g_max", 1), ("checkpoint_every", 1)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} {getattr(self, name)} is out of range; use {low} or more")
        if self.train is None and self.calibrate is None and self.keep < 1:
            raise ConfigError("no data: give --train with labelled rows, or --calibrate with texts (labels not needed)")

    @property
    def digest(self) -> str:
        """Of every setting that decides the artifact."""
        settings = {name: value for name, value in asdict(self).items() if name not in _NOT_IN_DIGEST}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()


def from_toml(path: str | Path, **overrides: Any) -> CompressConfig:
    """Settings from a TOML file of the same names; arguments that are not None win.

    Raises ConfigError when the file is missing, malformed or names an unknown setting.
    """
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    return from_settings({**raw, **{name: value for name, value in overrides.items() if value is not None}}, path)


def from_settings(settings: Mapping[str, Any], source: object = "settings") -> CompressConfig:
    """A config of named settings. Raises ConfigError on an unknown name or a wrong type."""
    known = {f.name: str(f.type) for f in fields(CompressConfig)}
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(f"{source}: setting {name!r} is unknown; see pgb compress --help")
        if not _fits(value, known[name]):
            wanted = "a text or a list of texts" if "tuple" in known[name] else known[name].replace(" | None", "")
            raise ConfigError(f"{source}: {name} must be {wanted}, not {value!r}")
    for name in ("checkpoint", "out"):
        if name not in settings:
            raise ConfigError(f"{source}: {name} is missing")
    columns = settings.get("label_column", ())
    return CompressConfig(**{**settings, "label_column": (columns,) if isinstance(columns, str) else tuple(columns)})


def _fits(value: object, kind: str) -> bool:
    if value is None:
        return "None" in kind
    if "tuple" in kind:
        parts = [value] if isinstance(value, str) else value
        return isinstance(parts, (list, tuple)) and all(isinstance(part, str) for part in parts)
    if "bool" in kind or isinstance(value, bool):
        return isinstance(value, bool) and "bool" in kind
    if "float" in kind:
        return isinstance(value, (int, float))
    return isinstance(value, int if kind.startswith("int") else str)
