"""Measures what the linear maps read, channel by channel, on real inputs. int8 forms take their scales from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pgb_core.inference.tokens import Tokens
from pgb_core.model.encoder import Encoder
from pgb_core.model.predict import torch_predictor
from pgb_core.plan import Role

MOST = 256  # inputs


@dataclass(frozen=True)
class Range:
    """The least and the largest value of each channel, [channels]. stream: whether the channels are the stream's."""

    low: Tensor
    high: Tensor
    stream: bool

    def of(self, index: Tensor | None) -> Range:
        """The range of these channels; of all of them for None."""
        return self if index is None else Range(self.low[index], self.high[index], self.stream)

    def divided(self, factors: Tensor) -> Range:
        """The range of the channels divided by these factors."""
        return Range(self.low / factors, self.high / factors, self.stream)

    @property
    def scale(self) -> tuple[np.float32, np.uint8]:
        """The step and the zero of unsigned bytes that hold all channels."""
        return step_and_zero(float(self.low.min()), float(self.high.max()))

    @property
    def largest(self) -> Tensor:
        """Magnitude of each channel."""
        return torch.maximum(self.low.abs(), self.high.abs())


def step_and_zero(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Step and zero point of unsigned bytes that hold all numbers between `low` and `high`, and 0 exactly."""
    low, high = min(0.0, low), max(0.0, high)
    step = np.float32((high - low) / 255 or 1.0)
    return step, np.uint8(round(-low / float(step)))


Ranges = Mapping[str, Range]  # by the map's name in a graph, as layer.0.query


def observe(model: Encoder, inputs: Sequence[Tokens]) -> dict[str, Range]:
    """Run the inputs, one at a time so that no padding is seen; the range of what each map reads.

    Neurons are left out. They differ more between tokens than any range can hold.
    """
    found: dict[str, Range] = {}
    with ExitStack() as stack:
        for layer in model.layers:
            for half in layer.halves:
                reading = half.sublayer.reading()
                for role, linear in {**reading, **half.sublayer.writing()}.items():
                    if role is not Role.FFN_OUT:
                        note = _noting(found, f"layer.{layer.index}.{role}", role in reading)
                        stack.enter_context(linear.register_forward_pre_hook(note))
        predict = torch_predictor(model)
        for tokens in inputs[:MOST]:
            predict([tokens])
    return found


def _noting(found: dict[str, Range], name: str, stream: bool) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def note(module: nn.Module, read: tuple[Tensor]) -> None:
        values = read[0].flatten(0, -2)
        low, high = values.amin(0), values.amax(0)
        if name in found:
            low, high = torch.minimum(low, found[name].low), torch.maximum(high, found[name].high)
        found[name] = Range(low, high, stream)

    return note
