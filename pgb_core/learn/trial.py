"""The loss of plans that are only tried: the dense model with masked weights, and nothing trained.

What each half of a layer adds is moved to the dense model's mean, as compensation would do at least. The loss is what
re-finetuning lowers: how far predictions and hidden states are from the dense model's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pgb_core.learn.finetune import hidden_loss
from pgb_core.learn.noise import replaced
from pgb_core.model.blocks import attention_bias
from pgb_core.model.encoder import Encoder
from pgb_core.plan import WRITING
from pgb_core.search.menus import Recipe
from pgb_core.tasks import Objective
from pgb_core.tasks.features import Batch


class Trial:
    """Losses on a few batches. The stream behind each half is kept for the plan that was settled on, so a plan that
    differs from it is computed from the first half that does. The model is left as it was.
    """

    @torch.no_grad()
    def __init__(self, dense: Encoder, batches: Sequence[Batch], objective: Objective) -> None:
        device = next(dense.parameters()).device
        self._dense = dense
        self._objective = objective
        self._batches = [batch.to(device) for batch in batches]
        self._real = [batch.attention_mask.bool() for batch in self._batches]
        self._halves = [half for layer in dense.layers for half in layer.halves]
        self._maps = [{**half.sublayer.reading(), **half.sublayer.writing()} for half in self._halves]
        self._first = [dense.embeddings(batch.input_ids, batch.token_type_ids) for batch in self._batches]
        self._means: list[Tensor] = []
        streams = [self._first]
        for half in self._halves:
            added = [half.added(x, attention_bias(real)) for x, real in zip(streams[-1], self._real, strict=True)]
            self._means.append(self._mean(added))
            streams.append([half.norm(x) for x in added])
        self._goals = streams[2::2]
        self._logits = [dense.head(x) for x in streams[-1]]
        self._last: tuple[list[Recipe], list[list[Tensor]]] = ([], [])
        self._base = self._last

    @torch.no_grad()
    def loss(self, recipes: Sequence[Recipe]) -> float:
        """Mean over the rows. recipes: of every half, in order, with the drafts of its maps."""
        known, streams = self._base
        start = next((n for n, (a, b) in enumerate(zip(recipes, known, strict=False)) if a is not b), len(known))
        found = streams[:start]
        for n in range(start, len(self._halves)):
            found.append(self._through(n, recipes[n], found[-1] if found else self._first))
        self._last = (list(recipes), found)
        total = rows = 0.0
        for n, (batch, real) in enumerate(zip(self._batches, self._real, strict=True)):
            states = {k: streams[n] for k, streams in enumerate(found[1::2])}
            goals = {k: streams[n] for k, streams in enumerate(self._goals)}
            loss = self._objective.distil(self._dense.head(found[-1][n]), self._logits[n], real)
            total += len(batch.input_ids) * float(loss + hidden_loss(states, goals, real))
            rows += len(batch.input_ids)
        return total / rows

    def settle(self) -> None:
        """The plan that was tried last is the one that others will differ from."""
        self._base = self._last

    def _through(self, place: int, recipe: Recipe, before: Sequence[Tensor]) -> list[Tensor]:
        """The stream of every batch behind a masked half."""
        half, maps = self._halves[place], self._maps[place]
        added: list[Tensor] = list(before)
        if any(draft.cost for role, draft in recipe.items() if role in WRITING):
            weights = [(maps[role].get_parameter("weight"), draft.mask) for role, draft in recipe.items()]
            with replaced([(weight, weight * mask.to(weight.device)) for weight, mask in weights]):
                added = [half.added(x, attention_bias(real)) for x, real in zip(before, self._real, strict=True)]
        shift = self._means[place] - self._mean(added)
        return [half.norm(x + shift) for x in added]

    def _mean(self, streams: Sequence[Tensor]) -> Tensor:
        """Over all real tokens, [hidden]."""
        return torch.cat([x[real] for x, real in zip(streams, self._real, strict=True)]).mean(0)
