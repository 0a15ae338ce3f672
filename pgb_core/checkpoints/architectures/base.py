"""What the file of an architecture says: where a checkpoint keeps its parts, and what its config.json calls them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pgb_core.errors import CheckpointError


@dataclass(frozen=True)
class Setting:
    """A number that config.json gives under a name of its own."""

    name: str

    @property
    def names(self) -> frozenset[str]:
        """The settings that are read for it."""
        return frozenset({self.name})

    def whole(self, config: Any) -> int:
        """A whole number, at least 1. Raises CheckpointError."""
        found = getattr(config, self.name)
        if type(found) is not int or found < 1:
            raise CheckpointError(f"config.json: {self.name} is {found!r}; it must be a whole number, at least 1")
        return found

    def small(self, config: Any) -> float:
        """A number between 0 and 1. Raises CheckpointError."""
        found = getattr(config, self.name)
        if type(found) not in (int, float) or not 0 < found < 1:
            raise CheckpointError(f"config.json: {self.name} is {found!r}; it must be a small number above 0")
        return float(found)


@dataclass(frozen=True)
class Fixed:
    """A number that every checkpoint of an architecture has, whatever its config.json says."""

    value: float

    @property
    def names(self) -> frozenset[str]:
        """None are read for it."""
        return frozenset()

    def whole(self, config: Any) -> int:
        """The number."""
        return int(self.value)

    def small(self, config: Any) -> float:
        """The number."""
        return self.value


Number = Setting | Fixed


@dataclass(frozen=True)
class Numbers:
    """Where the numbers of an `EncoderConfig` come from.

    embedding: the channels of the tables, those of the stream where an architecture has no other. types: 0 where it has
    no token types.
    """

    embedding: Number
    hidden: Number
    layers: Number
    heads: Number
    ffn: Number
    types: Number
    norm_eps: Number

    @property
    def names(self) -> frozenset[str]:
        """The settings that are read for them."""
        return frozenset[str]().union(*(getattr(self, field.name).names for field in fields(self)))


@dataclass(frozen=True)
class Classifier:
    """The head for classification: a map of the first token, an activation, and the map to logits."""

    dense: str
    activation: str
    output: str


@dataclass(frozen=True)
class Architecture:
    """Where a checkpoint's parts are. Keys of the tables are our modules, values the checkpoint's.

    title: its name in prose. embeddings, layer: below `prefix`; `{n}` is the layer's index. sites: below `layer`.
    classifier, qa_output: the heads, by their whole names. activation: the setting that names that of the feed-forward.
    counts_padding: positions count every token from 0; otherwise tokens that are no padding, from pad_token_id + 1.
    ignored: settings of config.json that are not read and do not change what the trained model computes.
    """

    title: str
    prefix: str
    embeddings: Mapping[str, str]
    layer: str
    sites: Mapping[str, str]
    classifier: Classifier
    qa_output: str
    numbers: Numbers
    activation: str
    counts_padding: bool
    ignored: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """Its own settings that are read, or that may be left unread."""
        return self.numbers.names | {self.activation} | self.ignored
