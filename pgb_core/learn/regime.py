"""What a method can add to training: gates, masks, noise, penalties, and a step after the optimiser's step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """The one that is done now, 0 to `of` - 1. seed: of the whole training; rate: of the weights at this step."""

    number: int
    of: int
    seed: int
    rate: float

    @property
    def done(self) -> float:
        """Share of the training that lies behind, 0 up to 1."""
        return self.number / self.of

    @property
    def draw(self) -> int:
        """A seed for what is drawn at this step, so that a training that is taken up again draws the same."""
        return self.seed * 1_000_003 + self.number


class Regime:
    """One addition to training; this one adds nothing. A step calls, in order:

    - `applied`, around the forward and the backward pass;
    - `penalty`, which joins the loss;
    - `graded`, after the backward pass, with weights as they were before `applied` and gradients as it left them;
    - `stepped`, after the optimiser.

    `judged` is called around a measurement of the model.
    """

    def groups(self) -> Sequence[dict[str, Any]]:
        """Parameters of its own, as groups of the optimiser; `lr` is the peak rate of each. `maximize` is allowed."""
        return ()

    @contextmanager
    def applied(self, step: Step) -> Iterator[None]:
        """Change the model for one pass, and change it back."""
        yield

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Let the model compute as the form does that it is trained for, and change it back."""
        yield

    def penalty(self, step: Step) -> Tensor | None:
        """What is added to the loss."""
        return None

    def graded(self, step: Step) -> None:
        """See or change gradients, before they are cut and the optimiser has them."""

    def stepped(self, step: Step) -> None:
        """Change weights, or what is kept of them."""

    def state(self) -> Mapping[str, Tensor]:
        """All that a training needs to be taken up again, its own parameters included."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
