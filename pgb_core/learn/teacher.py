"""Logits and hidden states of the dense model, computed once for each input and kept while there is room.

Re-finetuning needs them in every epoch, and several runs on the same rows need the same ones. The inputs whose results
are kept are chosen beforehand, and they are always computed in the same batches, so that a resumed training learns from
the same numbers.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pgb_core.learn.batches import batch_of, grouped
from pgb_core.learn.precision import mixed_precision, prepared
from pgb_core.machine import free_memory
from pgb_core.model.encoder import Encoder
from pgb_core.tasks import TASKS
from pgb_core.tasks.features import Batch, Features, token_count

SHARE = 1 / 3  # of the memory that is free, that may be kept
LEAST_BYTES, MOST_BYTES = 1 << 30, 8 << 30  # that may be kept on any machine
TOKENS = 2048  # padded, of a pass of the dense model

# From the inputs of a batch, and the batch, to its logits and the output of every layer.
Teaching = Callable[[Sequence[Features], Batch], tuple[Tensor, dict[int, Tensor]]]


def traced(model: Encoder, batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
    """Logits, and the output of every layer by its index in the dense checkpoint."""
    states: dict[int, Tensor] = {}
    x = model.embeddings(batch.input_ids, batch.token_type_ids)
    logits = model.from_embeddings(x, batch.attention_mask, states.__setitem__)
    return logits, states


@dataclass(frozen=True)
class _Known:
    """What the model makes of one input. logits: as it gives them; states: [layers, tokens, hidden]."""

    logits: Tensor
    states: Tensor


class Teacher:
    """The dense model, and what it makes of the rows to learn from.

    features: those rows. most: bytes that may be kept; by default `room` of the model's device. Hidden states are kept
    in bfloat16, whose error of 1 in 256 is small beside what a student is to learn. The model computes as a student in
    training does, see `mixed_precision`.
    """

    def __init__(self, model: Encoder, features: Sequence[Features], most: int | None = None) -> None:
        self._device = next(model.parameters()).device
        self.model = prepared(model, self._device)
        self.most = room(self._device) if most is None else most
        different = list({_key(item): item for item in features}.values())
        groups = grouped(different, TOKENS)
        self._some = groups[len(groups) // 2] if groups else []
        self._groups = self._fitting(groups, self.most)
        self._group = {_key(item): number for number, group in enumerate(self._groups) for item in group}
        self._known: dict[bytes, _Known] = {}
        self._tokens = token_count(different)
        self.asked = 0  # tokens that the dense model computed so far
        self._per_token = TASKS[model.config.task].per_token

    @property
    def waiting(self) -> int:
        """Tokens whose outputs will be kept and are not known yet."""
        return sum(token_count(group) for group in self._groups if not self._knows(group))

    def missing(self, features: Iterable[Features]) -> list[list[Features]]:
        """The batches in which outputs for these inputs are still to be computed, of those that will be kept."""
        numbers = {self._group[key] for key in map(_key, features) if key in self._group}
        return [self._groups[number] for number in sorted(numbers) if not self._knows(self._groups[number])]

    def learn(self, group: Sequence[Features]) -> None:
        """Compute and keep the outputs of a batch that was `missing`."""
        self.asked += token_count(group)
        logits, states = self._pass(batch_of(group, self.model.config).to(self._device))
        stacked = torch.stack(list(states.values()), 1).to(torch.bfloat16) if states else logits.new_zeros(0)
        for n, item in enumerate(group):
            length = len(item.ids)
            own = logits[n, :length] if logits.dim() == 3 else logits[n]
            self._known[_key(item)] = _Known(own.float().clone(), stacked[n, :, :length].clone())

    @property
    def passing(self) -> int:
        """Tokens whose outputs are not kept, and are computed in every epoch."""
        return self._tokens - sum(map(token_count, self._groups))

    def pace(self) -> float:
        """Seconds a token, by one pass over some inputs; 0 without any."""
        if not self._some:
            return 0.0
        batch = batch_of(self._some, self.model.config).to(self._device)
        seconds = 0.0
        for _ in range(2):  # the first pass of a shape allocates
            began = time.perf_counter()
            self._pass(batch)[0].sum().item()  # waits for the device
            seconds = time.perf_counter() - began
        return seconds / token_count(self._some)

    @property
    def kept(self) -> int:
        """Bytes kept so far."""
        return sum(one.logits.nbytes + one.states.nbytes for one in self._known.values())

    def __call__(self, features: Sequence[Features], batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits of a batch, and the output of every layer. features: what the batch was collated from."""
        numbers = {self._group.get(_key(item)) for item in features}
        if None in numbers:  # some are never kept: all of them together are one pass
            self.asked += token_count(features)
            return self._pass(batch)
        for group in self.missing(features):
            self.learn(group)
        known = [self._known[_key(item)] for item in features]
        width = batch.input_ids.shape[1]
        logits = [one.logits for one in known]
        states = _padded([one.states.transpose(0, 1) for one in known], width)
        return (
            _padded(logits, width) if self._per_token else torch.stack(logits),
            {layer.index: states[:, :, n] for n, layer in enumerate(self.model.layers)},
        )

    def state(self, most: int) -> dict[str, Tensor]:
        """The outputs of the first inputs, as many as are known and fit into so many bytes; nothing where that is none.

        logits: [inputs, labels], or [tokens, 2]; states: [tokens, layers, hidden].
        """
        found: list[_Known] = []
        for group in self._groups:
            known = [self._known.get(_key(item)) for item in group]
            most -= sum(one.logits.nbytes + one.states.nbytes for one in known if one is not None)
            if most < 0 or None in known:
                break
            found += [one for one in known if one is not None]
        if not found:
            return {}
        logits = [one.logits.reshape(-1, one.logits.shape[-1]) for one in found]
        return {"logits": torch.cat(logits), "states": torch.cat([one.states.transpose(0, 1) for one in found])}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `state`, on the same inputs."""
        logits, states = tensors["logits"], tensors["states"]
        row = token = 0
        for item in (item for group in self._groups for item in group):
            length = len(item.ids)
            if token + length > len(states):
                return
            own = logits[token : token + length] if self._per_token else logits[row]
            self._known[_key(item)] = _Known(own, states[token : token + length].transpose(0, 1))
            row, token = row + 1, token + length

    @torch.no_grad()
    def _pass(self, batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
        with mixed_precision(self._device):
            return traced(self.model, batch)

    def _knows(self, group: Sequence[Features]) -> bool:
        return _key(group[0]) in self._known

    def _fitting(self, groups: list[list[Features]], most: int) -> list[list[Features]]:
        """The first groups, shortest inputs first, that there is room for."""
        config, kept = self.model.config, []
        token = 2 * config.hidden * len(self.model.layers) + 8
        for group in groups:
            most -= sum(token * len(item.ids) for item in group)
            if most < 0:
                break
            kept.append(group)
        return kept


def reordered(teacher: Teaching, stream: Sequence[int] | None) -> Teaching:
    """The same, with the residual stream in a plan's order. stream: the dense channel at each position."""
    if stream is None:
        return teacher

    def teaching(features: Sequence[Features], batch: Batch) -> tuple[Tensor, dict[int, Tensor]]:
        logits, states = teacher(features, batch)
        order = torch.tensor(stream, device=logits.device)
        # As `state[..., order]`, in a third of its time on a CPU.
        return logits, {index: state.gather(-1, order.expand_as(state)) for index, state in states.items()}

    return teaching


def room(device: torch.device) -> int:
    """Bytes of the dense model's outputs that may be kept on a device, by what is free there now.

    Outputs that are kept are rounded to bfloat16, and others are not. So a student learns from slightly other numbers
    if this changes: a run that goes on after a stop uses the value that it began with.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return min(MOST_BYTES, max(LEAST_BYTES, int(SHARE * (free or 0))))


def _padded(rows: Sequence[Tensor], width: int) -> Tensor:
    """[tokens, ...] each -> [rows, width, ...], with 0 behind."""
    found = rows[0].new_zeros(len(rows), width, *rows[0].shape[1:])
    for row, own in zip(found, rows, strict=True):
        row[: len(own)] = own
    return found


def _key(item: Features) -> bytes:
    """All that a model reads of an input, as bytes."""
    return array("q", [*item.ids, *item.types]).tobytes()
