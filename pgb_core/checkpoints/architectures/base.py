"""What the file of an architecture defines: the names of a checkpoint's tensors and of its settings in config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    classifier, qa_output: the heads, by their whole names. numbers: those of an `EncoderConfig`, by the settings that
    give them; fixed: those that every checkpoint has, whatever its config.json says. activation: the setting that names
    that of the feed-forward. counts_padding: positions count every token from 0; otherwise tokens that are no padding,
    from pad_token_id + 1.
    ignored: settings of config.json that are not read and do not change what the trained model computes.
    """

    title: str
    prefix: str
    embeddings: Mapping[str, str]
    layer: str
    sites: Mapping[str, str]
    classifier: Classifier
    qa_output: str
    numbers: Mapping[str, str]
    fixed: Mapping[str, float]
    activation: str
    counts_padding: bool
    ignored: frozenset[str]

    @property
    def known(self) -> frozenset[str]:
        """Its own settings that are read, or that may be left unread."""
        return frozenset(self.numbers.values()) | {self.activation} | self.ignored
