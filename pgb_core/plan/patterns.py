"""Fixed attention patterns: what a head without query and key attends to."""

from __future__ import annotations

from enum import StrEnum


class Pattern(StrEnum):
    """What every token of a head attends to, whatever it says. Real tokens come first, and padding behind them.

    uniform: every real token alike (Kovaleva et al. 2019, arXiv 1908.08593). The others are of Raganato et al. 2020
    (arXiv 2002.10260). current, previous, next: the token itself and its neighbours. left, right: all tokens on that
    side but the neighbour, with weights that rise with the cube of the place, counted from the far end. start, end:
    the first and the last real token. A token that has nothing to attend to by its pattern attends to itself.
    """

    UNIFORM = "uniform"
    CURRENT = "current"
    PREVIOUS = "previous"
    NEXT = "next"
    LEFT = "left"
    RIGHT = "right"
    START = "start"
    END = "end"

    @property
    def context(self) -> bool:
        """Whether it takes a product between tokens, as learned attention does."""
        return self in (Pattern.LEFT, Pattern.RIGHT)
