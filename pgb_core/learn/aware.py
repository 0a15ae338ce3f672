"""Quantisation-aware training: linear maps compute with weights and inputs rounded to int8 (Zafrir et al. 2019).

Q8BERT (arXiv 1910.06188) rounds weights and the inputs of maps to 8 bits with one scale each, and passes gradients
straight through. The scale of an input comes from an exponential average of its maximum. Here both are rounded as in
the int8 forms: weights to 7 bits with one scale for each output, channels of the stream scaled to similar sizes first,
and neurons with one scale for each token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from pgb_core.learn.noise import matrices, replaced
from pgb_core.learn.regime import Regime, Step
from pgb_core.model.encoder import Encoder
from pgb_core.model.linear import Linear
from pgb_core.model.quantise import EVERYWHERE, even, rounded
from pgb_core.plan import WRITING, Role, Site

LARGEST = 127  # of whole numbers of 8 bits, symmetric


class Aware(Regime):
    """Every map but the exact ones, and the table of words, as the int8 forms have them.

    decay: share of its old value that an average of a maximum keeps at each step.
    """

    def __init__(self, model: Encoder, decay: float) -> None:
        self._maps = {site: linear for site, linear in model.sites().items() if not linear.exact}
        self._decay = decay
        self._largest: dict[Site, Tensor] = {}  # average of the largest magnitude of each input, [in]
        words = model.embeddings.word.get_parameter("weight")
        self._words = (words, rounded(words, 8))  # tables are not trained

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """See Regime."""
        with self._rounded():
            yield

    @contextmanager
    def _rounded(self) -> Iterator[None]:
        with ExitStack() as stack:
            others = [self._words]
            for site, linear in self._maps.items():
                factors = self._factors(site, linear)
                others += _weights(linear, factors)
                stack.enter_context(linear.register_forward_pre_hook(self._reading(site, linear, factors)))
            stack.enter_context(replaced(others))
            yield

    @contextmanager
    def judged(self) -> Iterator[None]:
        """See Regime. The averages stay as they are."""
        before = dict(self._largest)
        try:
            with self._rounded():
                yield
        finally:
            self._largest = before

    def state(self) -> Mapping[str, Tensor]:
        """See Regime."""
        return {str(site): largest for site, largest in self._largest.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """See Regime."""
        self._largest = {Site.parse(name): largest for name, largest in tensors.items()}

    def _factors(self, site: Site, linear: Linear) -> Tensor | None:
        """What the inputs of a map are divided by, [in]; None where they are not evened."""
        first = linear.chain().products[0]
        if site.role in WRITING or site not in self._largest or first.groups > 1:
            return None
        largest = self._largest[site]
        if first.in_index is None:
            return even(largest, first.blocks[0])
        index = first.in_index[0]
        return torch.ones_like(largest).index_copy(0, index, even(largest[index], first.blocks[0]))

    def _reading(
        self, site: Site, linear: Linear, factors: Tensor | None
    ) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
        index = linear.chain().products[0].in_index
        read = slice(None) if index is None else index.unique()

        def hook(module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            x = given[0]
            now = x.detach().abs()
            if site.role is Role.FFN_OUT:
                return (straight(x, now.amax(-1, keepdim=True) / LARGEST),)
            now = now.flatten(0, -2).amax(0).float()
            before = self._largest.get(site, now)
            self._largest[site] = self._decay * before + (1 - self._decay) * now
            of = torch.ones_like(now) if factors is None else factors
            return (straight(x, (self._largest[site] / of)[read].max() / LARGEST * of),)

        return hook


def straight(x: Tensor, scale: Tensor) -> Tensor:
    """x in whole numbers of a scale, -127 to 127, as it comes back; the gradient is that of x itself.

    scale: [...], one for each or for all of the last axis; 0 gives 0.
    """
    scale = scale.clamp_min(1e-12).to(x.dtype)
    whole = (x.detach() / scale).round().clamp(-LARGEST, LARGEST) * scale
    return x + (whole - x).detach()


def _weights(linear: Linear, factors: Tensor | None) -> list[tuple[nn.Parameter, Tensor]]:
    """The matrices of a map, and what the form computes with; the first one reads what was divided by the factors."""
    first, *others = matrices(linear)
    if factors is None:
        found = rounded(first, EVERYWHERE)
    else:
        index = linear.chain().products[0].in_index
        of = factors if index is None else factors[index[0]]
        found = rounded(first.detach() * of, EVERYWHERE) / of
    return [(first, found), *((other, rounded(other, EVERYWHERE)) for other in others)]
