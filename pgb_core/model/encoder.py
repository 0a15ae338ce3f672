"""One post-norm encoder for every architecture that is read, dense or grouped.

They differ only in where positions start, whether there are token types, and in the head, so
one module serves them all; which checkpoint key goes where is known to `pgb_core.checkpoints` alone.
Every linear map of a layer may be an `nn.Linear` or a `GroupedLinear`, heads may be of any number
and width, and a sublayer may be absent, so a compressed model is as small as it claims to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.linear.grouped import GroupedLinear
from pgb_core.plan import Role, Site

Linear = nn.Linear | GroupedLinear
ACTIVATIONS = {
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "tanh": torch.tanh,
}


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


class Attention(nn.Module):
    """Self-attention with any number of heads; query and key may be narrower than value."""

    def __init__(self, query: Linear, key: Linear, value: Linear, output: Linear, heads: int, scale: float) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale
        self.query = query
        self.key = key
        self.value = value
        self.output = output

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [batch, tokens, hidden]; mask: [batch, 1, 1, tokens], added to the scores, or None."""
        return self.output(self.mix(x, mask))

    def mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What the output map reads: the value channels of all heads, mixed over tokens."""
        query, key, value = (
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for project in (self.query, self.key, self.value)
        )
        if not torch.is_grad_enabled() and value.device.type == "cpu" and value.dtype == torch.float32:
            return fused(query, key, value, mask, self.scale).transpose(1, 2).flatten(2)
        # Spelled out: the fused kernel's backward is several times slower on a CPU at these widths.
        weights = (query * self.scale) @ key.transpose(2, 3)
        if mask is not None:
            weights = weights + mask
        mixed = weights.softmax(-1).to(value.dtype) @ value
        return mixed.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Two maps with an activation between."""

    def __init__(self, inner: Linear, outer: Linear, activation: str) -> None:
        super().__init__()
        self.inner = inner
        self.outer = outer
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] -> the same."""
        return self.outer(self.neurons(x))

    def neurons(self, x: Tensor) -> Tensor:
        """What the outer map reads."""
        return self.activation(self.inner(x))


class Constant(nn.Module):
    """What is left of a dropped sublayer: its mean, added to the residual stream."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., hidden], whatever comes in."""
        return self.bias


class Layer(nn.Module):
    """Attention and feed-forward, each added to its input and normalised."""

    def __init__(
        self,
        attention: Attention | Constant,
        attention_norm: nn.LayerNorm,
        feed_forward: FeedForward | Constant,
        feed_forward_norm: nn.LayerNorm,
        index: int,
    ) -> None:
        super().__init__()
        self.index = index
        self.attention = attention
        self.attention_norm = attention_norm
        self.feed_forward = feed_forward
        self.feed_forward_norm = feed_forward_norm

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [batch, tokens, hidden]; mask as in `Attention`."""
        x = self.attention_norm(x + self.attention(x, mask))
        return self.feed_forward_norm(x + self.feed_forward(x))

    def sites(self) -> Mapping[Role, Linear]:
        """The linear maps that this layer still has."""
        found: dict[Role, Linear] = {}
        if isinstance(self.attention, Attention):
            found[Role.QUERY] = self.attention.query
            found[Role.KEY] = self.attention.key
            found[Role.VALUE] = self.attention.value
            found[Role.ATTENTION_OUTPUT] = self.attention.output
        if isinstance(self.feed_forward, FeedForward):
            found[Role.FFN_IN] = self.feed_forward.inner
            found[Role.FFN_OUT] = self.feed_forward.outer
        return found


class Head(nn.Module):
    """Classification from the first token, or start and end scores of every token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.pooled = config.task == "classification"
        self.dense = nn.Linear(config.hidden, config.hidden) if self.pooled else None
        self.activation = ACTIVATIONS[config.head_activation] if config.head_activation else None
        self.output = nn.Linear(config.hidden, config.labels)

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
        x = self.embeddings(input_ids, token_type_ids)
        mask = attention_bias(attention_mask)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(x)

    def sites(self) -> dict[Site, Linear]:
        """Every linear map left, by its address in the dense checkpoint."""
        return {Site(layer.index, role): linear for layer in self.layers for role, linear in layer.sites().items()}


def dense_layer(config: EncoderConfig, index: int) -> Layer:
    """An unpruned layer, randomly initialised."""
    width = config.hidden
    query, key, value, output = (nn.Linear(width, width) for _ in range(4))
    attention = Attention(query, key, value, output, config.heads, config.head_dim**-0.5)
    feed_forward = FeedForward(nn.Linear(width, config.ffn), nn.Linear(config.ffn, width), config.activation)
    norms = [nn.LayerNorm(width, eps=config.norm_eps) for _ in range(2)]
    return Layer(attention, norms[0], feed_forward, norms[1], index)


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention in one kernel, [batch, heads, tokens, channels] each; mask as in `Attention`.

    PyTorch has it for equal widths only, so the narrower ones are filled with zeros.
    """
    narrow, wide = query.shape[-1], value.shape[-1]
    width = max(narrow, wide)
    query, key = (functional.pad(x, (0, width - narrow)) if narrow < width else x for x in (query, key))
    padded = functional.pad(value, (0, width - wide)) if wide < width else value
    return functional.scaled_dot_product_attention(query, key, padded, mask, scale=scale)[..., :wide]


def attention_bias(mask: Tensor | None) -> Tensor | None:
    """[batch, tokens] of 0 and 1 -> [batch, 1, 1, tokens] of 0 and -1e9; None where nothing is masked."""
    if mask is None or bool(mask.all()):
        return None
    return (mask[:, None, None, :].float() - 1.0) * 1e9
