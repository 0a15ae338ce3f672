"""Which names a model can have: those that stand in a path and mean no other route."""

from __future__ import annotations

import re

# Statistics of all models are at /v2/models/stats, so a model of that name would have no metadata.
RESERVED = frozenset({"stats"})
# Clients take the first two out of a path, a slash begins its next part, and KServe v1 has verbs behind a colon.
_HIDDEN = re.compile(r"\.\.?|.*/.*|.*:(predict|explain)", re.DOTALL)


def unreachable(name: str) -> bool:
    """Whether some route would not find a model of this name by its path."""
    return name in RESERVED or _HIDDEN.fullmatch(name) is not None
