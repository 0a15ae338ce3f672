"""The dialect of text-embeddings-inference: its errors. What it takes and gives stands in `contested`."""

from __future__ import annotations

from pydantic import BaseModel


class TeiError(BaseModel):
    """Every error of this dialect."""

    error: str
    error_type: str
