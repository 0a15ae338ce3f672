"""Everything that can be set: by flag, from the environment (prefix PGB_), or from a TOML file.

A flag wins over the environment, the environment over the file. A name that is not a setting is an
error wherever it stands, so that a misspelt limit is not a missing one.
"""

from __future__ import annotations

import argparse
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pgb_core.inference.choose import AUTO
from pgb_core.inference.runtimes.registry import RUNTIMES, devices

PREFIX = "PGB_"
# What Kubernetes puts into every container beside a service whose name is pgb, or begins with pgb-.
_OF_THE_JOB = f"{PREFIX}CACHE"  # where `pgb compress` keeps scores
_LINKED = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)")


def _several(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)]


@dataclass(frozen=True)
class _OneOf:
    """A text that is one of those that a table has, as a Literal would say it of those that it has now."""

    names: Callable[[], tuple[str, ...]]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": list(self.names()), "type": "string"}

    def _checked(self, value: object) -> object:
        names = self.names()
        if value not in names:
            *most, last = map(repr, names)
            expected = f"{', '.join(most)} or {last}" if most else last
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
        return value


class SettingsError(ValueError):
    """A setting is unknown or out of range; the message is one line."""


class Settings(BaseSettings):
    """Settings of one server process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    artifacts: Several = Field(
        (),
        description="Models to serve, each as PATH, NAME=PATH or hf://REPO; the first of a task is its default",
    )
    models_dir: Path | None = Field(
        None, description="Folder with NAME/ or NAME/VERSION/ artifacts, from which models may be loaded while serving"
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all of this machine")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one")

    form: str = Field(
        AUTO,
        description="Which form of each model is served; auto times at load those that the artifact carries and serves "
        "the fastest whose loss is small enough. Replicas that must agree name one",
    )
    max_form_drop: float = Field(
        0.5,
        ge=0,
        description="Points of the metric that a form chosen by auto may lose to fp32; where no labelled rows measured "
        "it, 99 % of the answers must be equal",
    )
    runtime: Annotated[str, _OneOf(lambda: (AUTO, *RUNTIMES))] = Field(
        AUTO, description="What runs the models; auto is the form's usual one"
    )
    device: Annotated[str, _OneOf(devices)] = Field("cpu", description="Where the runtime runs them")
    threads: int = Field(0, ge=0, description="Threads of the runtime; 0 takes the cores this process may use")

    max_batch_tokens: int = Field(1024, ge=1, description="Padded tokens of one batch")
    max_queue_tokens: int = Field(131_072, ge=1, description="Tokens that may wait for one model")
    max_queue_seconds: float = Field(
        2.0, gt=0, description="Longest time, by estimate, that an admitted request waits for others"
    )
    max_overtake_seconds: float = Field(
        0.1, ge=0, description="How much younger than the oldest waiting input another may always be and run with it"
    )
    max_request_seconds: float = Field(60.0, gt=0, description="Longest time a request may take; it may ask for less")

    max_body_bytes: int = Field(4 << 20, ge=1024, description="Largest request body, as sent and decompressed")
    max_pending_bytes: int = Field(256 << 20, ge=1024, description="Bodies held at one time, of all requests")
    max_header_bytes: int = Field(32 << 10, ge=1024, description="Largest request head")
    max_connections: int = Field(
        4096, ge=1, description="Most connections; past it those that ask nothing are closed, the longest idle first"
    )
    max_body_seconds: float = Field(30.0, gt=0, description="Time in which a request must have arrived whole")
    max_items: int = Field(128, ge=1, description="Most inputs in one request")
    max_characters: int = Field(200_000, ge=1, description="Longest single text")
    max_windows: int = Field(256, ge=1, description="Most windows that one request's contexts may need")

    max_load_seconds: float = Field(
        300.0, gt=0, description="Longest time in which a model must have loaded and checked itself"
    )
    drain_seconds: float = Field(
        5.0, ge=0, description="Time from the signal to stop, when ready turns 503, until connections are refused"
    )
    stop_seconds: float = Field(30.0, gt=0, description="Time in which work in flight must end after that")
    keep_alive_seconds: int = Field(75, ge=1, description="Time that an idle connection is kept")

    keys_file: Path | None = Field(
        None, description="Hashed API keys; without it everyone may ask, nobody may administer"
    )
    metrics: bool = Field(True, description="Serve /metrics")
    metrics_key: bool = Field(False, description="Ask for a key on /metrics too")
    ui: bool = Field(True, description="Serve the pages at /ui and /docs")
    cors_origins: Several = Field((), description="Origins whose pages may call this service")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Of the JSON log on stderr")
    otlp_endpoint: str | None = Field(
        None, description="Where OpenTelemetry spans are sent, for example http://host:4318"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any, info: ValidationInfo) -> Any:
        """An empty host would be every address, an empty path the current directory."""
        if isinstance(value, str) and not value.strip():
            raise ValueError("is empty; leave it out to take the default")
        return value

    @field_validator("max_pending_bytes")
    @classmethod
    def _room_for_two(cls, value: int, info: ValidationInfo) -> int:
        if value < 2.5 * info.data.get("max_body_bytes", 0):
            raise ValueError("is less than two and a half of max_body_bytes; nobody may hold more than is left free")
        return value

    @field_validator("metrics_key")
    @classmethod
    def _needs_keys(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("keys_file") is None:
            raise ValueError("needs keys_file; without it everyone may read them")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file; the first that names a setting wins."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_settings(argv: Sequence[str]) -> Settings:
    """From flags, environment and the file that --config or PGB_CONFIG names. Raises SettingsError."""
    flags = {name: value for name, value in vars(_parser().parse_args(argv)).items() if value not in (None, [])}
    config = flags.pop("config", None) or os.environ.get(f"{PREFIX}CONFIG")
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {f"{PREFIX}CONFIG", _OF_THE_JOB}
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and not _LINKED.fullmatch(name):
            raise SettingsError(f"environment: {name} is not a setting; docs/settings.md lists them")
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):
        raise SettingsError(
            f"environment: {PREFIX}PORT is what Kubernetes sets near a service named pgb; "
            "set enableServiceLinks: false, or name the service otherwise"
        )

    class Configured(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        if config is not None:
            Path(config).open("rb").close()  # a file that is missing would be passed over
        return Configured(**flags)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{config}: cannot be read as TOML ({type(error).__name__})") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -P -m service", description="Serve artifacts over HTTP.", epilog="Lists are given as a,b,c."
    )
    parser.add_argument("artifacts", nargs="*", help=Settings.model_fields["artifacts"].description)
    parser.add_argument("--config", help="TOML file of settings; or PGB_CONFIG")
    for name, field in Settings.model_fields.items():
        if name != "artifacts":
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"{field.description} [{field.default}]")
    return parser
