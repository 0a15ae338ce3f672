"""Model inputs: token ids, and padded batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pgb_core.artifact import INPUTS
from pgb_core.inference.batches import alike
from pgb_core.inference.runtimes.base import pad
from pgb_core.inference.tokens import Tokens


@dataclass(frozen=True)
class Features:
    """One model input. `target` is a label, or (start, end) tokens; `row` indexes the source rows, and is below 0 where
    the input was made from them. cut: whether the text, or the question, has more tokens than are here.
    """

    ids: list[int]
    types: list[int]
    target: object
    row: int
    cut: bool = False

    @property
    def tokens(self) -> Tokens:
        """What a model reads of it."""
        return Tokens(self.ids, self.types)


@dataclass(frozen=True)
class Batch:
    """Padded tensors, [batch, tokens] int64 each. `targets` is None without labels."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    targets: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        targets = None if self.targets is None else self.targets.to(device)
        return Batch(self.input_ids.to(device), self.attention_mask.to(device), self.token_type_ids.to(device), targets)


def token_count(features: Iterable[Features]) -> int:
    """How many tokens these inputs have."""
    return sum(len(item.ids) for item in features)


def batches(features: Sequence[Features], tokens: int, pad_id: int) -> Iterator[Batch]:
    """Batches of like lengths, at most `tokens` padded tokens each, shortest first."""
    yield from (collate(group, pad_id) for group in grouped(features, tokens))


def grouped(
    features: Sequence[Features], tokens: int, seed: int | None = None, width: Callable[[int], int] = int
) -> list[list[Features]]:
    """The inputs of each batch, of like lengths and at most `tokens` padded tokens each.

    Without a seed: shortest first. With one: shuffled, rows and batches, the same way for the same seed. width: tokens
    that an input of some length is padded to, at least.
    """
    order = list(range(len(features)))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    if generator is not None:
        order = torch.randperm(len(features), generator=generator).tolist()
    ordered = [features[i] for i in order]
    groups = [[ordered[i] for i in group] for group in alike([width(len(f.ids)) for f in ordered], tokens)]
    if generator is not None:
        groups = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
    return groups


def collate(features: Sequence[Features], pad_id: int, width: int = 0) -> Batch:
    """Pad on the right to the longest, and to `width` tokens if that is more."""
    arrays = pad([f.tokens for f in features], pad_id, width)
    labelled = all(f.target is not None for f in features)
    targets = torch.tensor([f.target for f in features]) if labelled else None
    ids, mask, types = (torch.from_numpy(arrays[name]) for name in INPUTS)
    return Batch(ids, mask, types, targets)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy of logits against a teacher's distribution, less its entropy (a KL divergence), a row's mean."""
    return functional.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean")
