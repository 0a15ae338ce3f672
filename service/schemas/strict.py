"""What the schemas of every dialect share: bad input of any size costs little to refuse."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """Unknown fields are an error, so that a misspelt option is not ignored. A crowd of them is one error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _not_more_than_there_are(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > len(cls.model_fields):
            raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
        return data
