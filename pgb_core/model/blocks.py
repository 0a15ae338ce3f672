"""The layers of an encoder, and the computation in them.

A layer has two halves. Each half reads the stream by some maps, computes from them the input of one more map, adds that
map's output to the stream, and normalises the sum. Code that needs intermediate values calls these steps one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pgb_core.model.linear import Linear
from pgb_core.model.patterns import pattern_weights
from pgb_core.plan import Pattern, Role

Activation = Callable[[Tensor], Tensor]
Tap = Callable[[int, Tensor], None]
ACTIVATIONS: dict[str, Activation] = {
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "tanh": torch.tanh,
}


class Sublayer(nn.Module):
    """What adds to the stream: attention, a feed-forward pair, or what is left of one."""

    mixes_tokens = False

    def reading(self) -> Mapping[Role, Linear]:
        """The maps that read the stream."""
        return {}

    def writing(self) -> Mapping[Role, Linear]:
        """The map that writes to it; nothing where a sublayer was dropped."""
        return {}

    def between(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., hidden] -> what the writing map reads."""
        raise NotImplementedError

    def written(self, between: Tensor) -> Tensor:
        """What the writing map makes of it, [..., hidden]."""
        (linear,) = self.writing().values()
        return linear(between)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What is added to the stream. x: [batch, tokens, hidden]; mask: [batch, 1, 1, tokens], added to scores."""
        return self.written(self.between(x, mask))


class Attention(Sublayer):
    """Self-attention with any number of heads; query and key may be narrower than value.

    heads: that learn what they attend to, by query and key. fixed: behind them in the value's channels, the patterns of
    the others, and how many heads have each. Without a head that learns there is no query and no key.
    """

    mixes_tokens = True

    def __init__(
        self,
        query: Linear | None,
        key: Linear | None,
        value: Linear,
        output: Linear,
        heads: int,
        scale: float,
        fixed: Sequence[tuple[Pattern, int]] = (),
    ) -> None:
        super().__init__()
        self.heads = heads
        self.scale = scale
        self.fixed = tuple(fixed)
        self.query = query
        self.key = key
        self.value = value
        self.output = output

    @property
    def learned(self) -> tuple[Linear, Linear] | None:
        """Query and key, where a head learns."""
        return None if self.query is None or self.key is None else (self.query, self.key)

    @property
    def widths(self) -> list[int]:
        """Channels of the value that heads which learn have together, and those that each fixed pattern has."""
        counts = [self.heads, *(count for _, count in self.fixed)]
        return [count * (self.value.out_features // sum(counts)) for count in counts]

    def reading(self) -> Mapping[Role, Linear]:
        """Query, key and value."""
        learned = {} if self.learned is None else dict(zip((Role.QUERY, Role.KEY), self.learned, strict=True))
        return {**learned, Role.VALUE: self.value}

    def writing(self) -> Mapping[Role, Linear]:
        """The output map."""
        return {Role.ATTENTION_OUTPUT: self.output}

    def between(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The value channels of all heads, mixed over tokens."""
        if not self.fixed:
            return self._attended(x, self.value(x), mask)
        learned, *others = self.value(x).split(self.widths, -1)
        real = x.new_ones(1, x.shape[1], dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
        mixed = [] if self.learned is None else [self._attended(x, learned, mask)]
        for (pattern, _), value in zip(self.fixed, others, strict=True):
            mixed.append(pattern_weights(pattern, real).to(value.dtype) @ value)
        return torch.cat(mixed, -1)

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each token attends to by each head that learns, [batch, heads, tokens, tokens]."""
        return _weights(*self._scored(x), mask, self.scale)

    def _scored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Query and key, [batch, heads, tokens, channels] each."""
        if self.learned is None:
            raise ValueError("no head of this attention learns what it attends to")
        query, key = (_by_head(project(x), self.heads) for project in self.learned)
        return query, key

    def _attended(self, x: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """The value channels of the heads that learn, mixed over tokens."""
        query, key = self._scored(x)
        value = _by_head(value, self.heads)
        mask = None if mask is None else mask.to(query.dtype)  # a wider one would widen the scores
        if not torch.is_grad_enabled() and value.device.type == "cpu":
            return fused(query, key, value, mask, self.scale).transpose(1, 2).flatten(2)
        # Spelled out: the fused kernel's backward is several times slower on a CPU at these widths.
        mixed = _weights(query, key, mask, self.scale).to(value.dtype) @ value
        return mixed.transpose(1, 2).flatten(2)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, heads * channels] -> [batch, heads, tokens, channels]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """[batch, heads, tokens, channels] each -> [batch, heads, tokens, tokens]; mask as in `Sublayer`."""
    weights = (query * scale) @ key.transpose(2, 3)
    return (weights if mask is None else weights + mask).softmax(-1)


class FeedForward(Sublayer):
    """Two maps with an activation between."""

    def __init__(self, inner: Linear, outer: Linear, activation: Activation) -> None:
        super().__init__()
        self.inner = inner
        self.outer = outer
        self.activation = activation

    def reading(self) -> Mapping[Role, Linear]:
        """The first map."""
        return {Role.FFN_IN: self.inner}

    def writing(self) -> Mapping[Role, Linear]:
        """The second map."""
        return {Role.FFN_OUT: self.outer}

    def between(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The neurons."""
        return self.activation(self.inner(x))


class Constant(Sublayer):
    """What is left of a dropped sublayer: its mean, added to the stream."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[..., hidden], whatever comes in."""
        return self.bias


@dataclass(frozen=True)
class Half:
    """A sublayer and the norm behind it."""

    sublayer: Sublayer
    norm: nn.LayerNorm

    def added(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The stream with what the sublayer writes, before the norm."""
        return x + self.sublayer(x, mask)

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, tokens, hidden] -> the same."""
        return self.norm(self.added(x, mask))


class Layer(nn.Module):
    """Attention and feed-forward, each added to its input and normalised. index: of the dense checkpoint's layer."""

    def __init__(
        self,
        attention: Sublayer,
        attention_norm: nn.LayerNorm,
        feed_forward: Sublayer,
        feed_forward_norm: nn.LayerNorm,
        index: int,
    ) -> None:
        super().__init__()
        self.index = index
        self.attention = attention
        self.attention_norm = attention_norm
        self.feed_forward = feed_forward
        self.feed_forward_norm = feed_forward_norm

    @property
    def halves(self) -> tuple[Half, Half]:
        """In the order of data."""
        return Half(self.attention, self.attention_norm), Half(self.feed_forward, self.feed_forward_norm)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [batch, tokens, hidden]; mask as in `Sublayer`."""
        for half in self.halves:
            x = half(x, mask)
        return x

    def maps(self) -> dict[Role, Linear]:
        """The linear maps that this layer still has."""
        return {
            role: linear
            for half in self.halves
            for role, linear in (*half.sublayer.reading().items(), *half.sublayer.writing().items())
        }


def through(layers: Iterable[Layer], x: Tensor, mask: Tensor | None, tap: Tap | None = None) -> Tensor:
    """Take the stream through layers. tap: shown the output of each, with its index."""
    for layer in layers:
        x = layer(x, mask)
        if tap is not None:
            tap(layer.index, x)
    return x


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention in one kernel, [batch, heads, tokens, channels] each; mask as in `Sublayer`.

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
