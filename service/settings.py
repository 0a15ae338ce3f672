"""Everything that can be set, from the environment (prefix PGB_) or by argument."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one server process."""

    model_config = SettingsConfigDict(env_prefix="PGB_", extra="forbid", frozen=True)

    artifacts: tuple[Path, ...] = Field(description="Directories of the models to serve; the first is the default")
    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")
    threads: int = Field(0, ge=0, description="Threads of the runtime; 0 takes the cores this process may use")
    max_body_bytes: int = Field(4 << 20, ge=1024, description="Largest request body")
    max_items: int = Field(128, ge=1, description="Most inputs in one request")
    max_characters: int = Field(200_000, ge=1, description="Longest single text")
    max_windows: int = Field(256, ge=1, description="Most windows that one request's contexts may need")
    max_batch_tokens: int = Field(4096, ge=1, description="Padded tokens of one batch")
    max_queue_tokens: int = Field(131_072, ge=1, description="Padded tokens that may wait for one model")
    max_wait_seconds: float = Field(
        0.25, ge=0, description="Age at which a waiting input stops yielding to likelier ones"
    )
