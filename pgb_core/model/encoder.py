"""One post-norm encoder for all supported architectures, dense or compact.

Architectures differ only in where positions start, whether there are token types, and in the head, so one module
serves all of them. Only `pgb_core.checkpoints` knows the names in checkpoints. Each linear map of a layer may be of
any kind in `pgb_core.model.linear`, heads may have any number and width, and a sublayer may be absent. So the module
of a compressed model holds only what was kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pgb_core.model.blocks import ACTIVATIONS, Attention, FeedForward, Layer, Tap, attention_bias, through
from pgb_core.model.linear import Dense, Linear
from pgb_core.plan import Site
from pgb_core.search.units import Sizes


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and conventions of a dense encoder.

    types: 0 where there are no token types. embedding: channels of the tables; hidden: channels of the stream.
    counts_padding: positions count every token from 0; otherwise tokens that are no padding, from pad_id + 1.
    head_activation: None where the head is one map.
    """

    vocab: int
    positions: int
    types: int
    embedding: int
    hidden: int
    layers: int
    heads: int
    ffn: int
    norm_eps: float
    activation: str
    head_activation: str | None
    labels: int
    task: str
    pad_id: int
    counts_padding: bool

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.hidden // self.heads

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        return self.positions if self.counts_padding else self.positions - self.pad_id - 1

    def sizes(self, tokens: int = 0) -> Sizes:
        """What heads and neurons there are, and what a budget counts of them. tokens: as `Sizes` has them."""
        return Sizes(self.layers, self.heads, self.ffn, self.hidden, self.head_dim, tokens)


class Embeddings(nn.Module):
    """Word, position and (where the model has them) token-type embeddings, normalised.

    Tables of another width than the stream's are followed by a map to that.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.counts_padding = config.counts_padding
        self.pad_id = config.pad_id
        width, projected = config.embedding, config.embedding != config.hidden
        self.word = nn.Embedding(config.vocab, width)
        self.position = nn.Embedding(config.positions, width)
        self.token_type = nn.Embedding(config.types, width) if config.types else None
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.projection = nn.Linear(width, config.hidden) if projected else None

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """[batch, tokens] -> [batch, tokens, hidden]."""
        if self.counts_padding:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        else:
            real = (input_ids != self.pad_id).long()
            positions = real.cumsum(1) * real + self.pad_id
        x = self.word(input_ids) + self.position(positions)
        if self.token_type is not None:
            x = x + self.token_type(torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids)
        x = self.norm(x)
        return x if self.projection is None else self.projection(x)


class Head(nn.Module):
    """Classification from the first token, or start and end scores of every token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = None if config.head_activation is None else Dense(config.hidden, config.hidden)
        self.activation = ACTIVATIONS[config.head_activation] if config.head_activation else None
        self.output = Dense(config.hidden, config.labels)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, hidden] -> [batch, labels], or [batch, tokens, 2] for span scores."""
        if self.dense is not None and self.activation is not None:
            x = self.activation(self.dense(x[:, 0]))
        return self.output(x)


class Layers(nn.ModuleList):
    """A module list whose items are known to be layers."""

    def __iter__(self) -> Iterator[Layer]:
        return cast(Iterator[Layer], super().__iter__())


class Encoder(nn.Module):
    """Embeddings, layers, head."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = Layers(dense_layer(config, index) for index in range(config.layers))
        self.head = Head(config)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """[batch, tokens] each -> logits; see `Head`."""
        return self.from_embeddings(self.embeddings(input_ids, token_type_ids), attention_mask)

    def from_embeddings(self, x: Tensor, attention_mask: Tensor | None, tap: Tap | None = None) -> Tensor:
        """[batch, tokens, hidden] -> logits. tap: shown the output of every layer, with its index."""
        return self.head(through(self.layers, x, attention_bias(attention_mask), tap))

    def sites(self) -> dict[Site, Linear]:
        """Every linear map left, by its address in the dense checkpoint."""
        return {Site(layer.index, role): linear for layer in self.layers for role, linear in layer.maps().items()}

    def shapes(self) -> dict[Site, tuple[int, int]]:
        """Rows and columns of every linear map left."""
        return {site: (linear.out_features, linear.in_features) for site, linear in self.sites().items()}


def dense_layer(config: EncoderConfig, index: int) -> Layer:
    """An unpruned layer, randomly initialised."""
    width = config.hidden
    query, key, value, output = (Dense(width, width) for _ in range(4))
    attention = Attention(query, key, value, output, config.heads, config.head_dim**-0.5)
    feed_forward = FeedForward(Dense(width, config.ffn), Dense(config.ffn, width), ACTIVATIONS[config.activation])
    norms = [nn.LayerNorm(width, eps=config.norm_eps) for _ in range(2)]
    return Layer(attention, norms[0], feed_forward, norms[1], index)
