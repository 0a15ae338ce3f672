"""How long a contender is measured: about two and a half minutes, or as short as shows that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lengths:
    """probe, steady, fault: seconds of a run of the search, at a share of the highest rate, and of a fault.

    tries: most runs of the search. crowd: clients that leave. costly_texts: of the one costly request. floor: requests
    a second that are used further on when no rate was held; 0 leaves the rest out.
    """

    probe: float = 8.0
    steady: float = 10.0
    fault: float = 8.0
    tries: int = 6
    crowd: int = 24
    costly_texts: int = 1000
    floor: float = 0.0


SMOKE = Lengths(probe=2.0, steady=2.0, fault=4.0, tries=1, crowd=4, costly_texts=40, floor=1.0)
