"""The errors of the dialect of text-embeddings-inference. Its bodies and answers are in `contested`."""

from __future__ import annotations

from pydantic import BaseModel


class TeiError(BaseModel):
    """Every error of this dialect."""

    error: str
    error_type: str
