"""The base class of the options of every method."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class MethodOptions(BaseModel):
    """The options of one method. summary: what it does, in a line; paper: its source; acts_on: what it removes.

    of_training: options that act in re-finetuning alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    summary: ClassVar[str]
    paper: ClassVar[str]
    acts_on: ClassVar[str] = "weights"
    of_training: ClassVar[tuple[str, ...]] = ()

    @property
    def component(self) -> str:
        """What it removes, with these options."""
        return self.acts_on

    @property
    def uses_labels(self) -> bool:
        """Whether labels of the calibration rows decide anything."""
        return False

    @property
    def learns(self) -> bool:
        """Whether what is kept is decided by training."""
        return False

    @property
    def saves_flops(self) -> bool:
        """Whether the graph does not compute what was removed."""
        return True

    @property
    def quantises(self) -> bool:
        """Whether it trains for int8 forms, even with --keep 1."""
        return False

    @property
    def continues(self) -> bool:
        """Whether it can start from a model that is compressed already, and make that smaller."""
        return False

    @property
    def compensates(self) -> bool:
        """Whether what is left is solved anew after the cut; a training that shapes the model comes in its place."""
        return not self.learns

    @property
    def priced(self) -> bool:
        """Whether the run time of parts decides what is kept."""
        return False

    def stored(self, keep: float) -> float:
        """Share of the encoder's weights that is stored when a share `keep` is kept."""
        return keep
