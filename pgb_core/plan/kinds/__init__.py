"""The kinds of linear map that a plan may choose, one file each. `pgb_core.model.linear` has the modules to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pgb_core.plan.kinds.base import Choice, Shape
from pgb_core.plan.kinds.dense import Keep
from pgb_core.plan.kinds.grouped import Group, Grouping, block, nothing
from pgb_core.plan.kinds.low_rank import LowRank
from pgb_core.plan.kinds.masked import Masked

KINDS: tuple[type[Choice], ...] = (Keep, Grouping, LowRank, Masked)


def decoded(value: Mapping[str, Any]) -> Choice:
    """The choice that some kind wrote as JSON. Raises KeyError when none did."""
    for kind in KINDS:
        if kind.key in value:
            return kind.decoded(value)
    raise KeyError("kind")


__all__ = ["KINDS", "Choice", "Group", "Grouping", "Keep", "LowRank", "Masked", "Shape", "block", "decoded", "nothing"]
