"""Rows of text as what a model takes: token ids, and padded batches of like lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from pgb_core.data import Label, Question, TextRow

_AT_ONCE = 1000  # texts


@dataclass(frozen=True)
class Features:
    """One model input. `target` is a label, or (start, end) tokens; `row` indexes the source rows."""

    ids: list[int]
    types: list[int]
    target: Label | tuple[int, int]
    row: int
    offsets: list[tuple[int, int] | None] | None = None


@dataclass(frozen=True)
class Batch:
    """Padded tensors, [batch, tokens] int64 each. `targets` is None without labels."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    targets: Tensor | None
    features: tuple[Features, ...]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.token_type_ids.to(device),
            None if self.targets is None else self.targets.to(device),
            self.features,
        )

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the model takes, in its order."""
        return self.input_ids, self.attention_mask, self.token_type_ids


def encode_texts(
    rows: Sequence[TextRow], targets: Sequence[Label], tokenizer: Tokenizer, length: int, side: str = "right"
) -> list[Features]:
    """Truncated to `length` tokens, on that side."""
    found: list[Features] = []
    tokenizer.enable_truncation(length, direction=side)
    try:
        for start in range(0, len(rows), _AT_ONCE):  # an encoding takes thirty times as much as its text
            inputs = [row.text if row.pair is None else (row.text, row.pair) for row in rows[start : start + _AT_ONCE]]
            for n, encoding in enumerate(tokenizer.encode_batch(inputs), start):
                found.append(Features(encoding.ids, encoding.type_ids, targets[n], n))
    finally:
        tokenizer.no_truncation()
    return found


def encode_questions(
    rows: Sequence[Question], tokenizer: Tokenizer, length: int, stride: int, placed: bool = True
) -> list[Features]:
    """Overlapping windows of at most `length` tokens; offsets are characters of the context, kept if `placed`.

    A window that does not hold the first answer whole points at the first token, as SQuAD 2.0's
    unanswerable questions do; without a label, or a place of the answer, there is no target. Neighbours
    share `stride` tokens, at most a quarter of what a window has room for. A question too long for any
    context is cut.
    """
    features = []
    budget = length - tokenizer.num_special_tokens_to_add(True)
    stride = max(0, min(stride, budget // 4))
    # The library gives the second text of all windows but the first type 1, whatever the tokenizer says.
    top = max(tokenizer.encode("a", "a").type_ids, default=0)
    for n, row in enumerate(rows):
        question = _fitting(row.question.strip(), tokenizer, budget // 2)
        tokenizer.enable_truncation(length, stride=stride, strategy="only_second")
        try:
            first = tokenizer.encode(question, row.context)
        finally:
            tokenizer.no_truncation()
        for window in (first, *first.overflowing):
            offsets = [
                offset if sequence == 1 else None
                for offset, sequence in zip(window.offsets, window.sequence_ids, strict=True)
            ]
            types = [min(kind, top) for kind in window.type_ids]
            features.append(Features(window.ids, types, _span(row, offsets), n, offsets if placed else None))
    return features


def _fitting(question: str, tokenizer: Tokenizer, limit: int) -> str:
    encoding: Encoding = tokenizer.encode(question, add_special_tokens=False)
    return question if len(encoding.ids) <= limit else question[: encoding.offsets[limit - 1][1]]


def _span(row: Question, offsets: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    if row.answers is None:
        return None
    if not row.answers:
        return (0, 0)
    text, start = row.answers[0]
    if start is None:
        return None
    start += len(text) - len(text.lstrip())  # no token holds a blank
    end = start + len(text.strip())
    inside = [n for n, offset in enumerate(offsets) if offset and offset[0] < end and offset[1] > start]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:  # type: ignore[index]
        return (0, 0)
    return inside[0], inside[-1]


def batches(features: Sequence[Features], tokens: int, pad_id: int, seed: int | None = None) -> Iterator[Batch]:
    """Batches of like lengths, at most `tokens` padded tokens each.

    Without a seed: shortest first. With one: shuffled, rows and batches, the same way for the same
    seed.
    """
    yield from (collate(group, pad_id) for group in grouped(features, tokens, seed))


def grouped(features: Sequence[Features], tokens: int, seed: int | None = None) -> list[list[Features]]:
    """The groups that `batches` collates."""
    order = list(range(len(features)))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    if generator is not None:
        order = torch.randperm(len(features), generator=generator).tolist()
    order.sort(key=lambda i: len(features[i].ids))
    groups: list[list[Features]] = []
    group: list[Features] = []
    for i in order:
        if group and (len(group) + 1) * len(features[i].ids) > tokens:
            groups.append(group)
            group = []
        group.append(features[i])
    if group:
        groups.append(group)
    if generator is not None:
        groups = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
    return groups


def collate(features: Sequence[Features], pad_id: int) -> Batch:
    """Pad on the right to the longest."""
    width = max(len(f.ids) for f in features)
    ids = torch.full((len(features), width), pad_id)
    mask = torch.zeros(len(features), width, dtype=torch.long)
    types = torch.zeros(len(features), width, dtype=torch.long)
    for n, f in enumerate(features):
        ids[n, : len(f.ids)] = torch.tensor(f.ids)
        mask[n, : len(f.ids)] = 1
        types[n, : len(f.types)] = torch.tensor(f.types)
    labelled = all(f.target is not None for f in features)
    targets = torch.tensor([f.target for f in features]) if labelled else None
    return Batch(ids, mask, types, targets, tuple(features))
