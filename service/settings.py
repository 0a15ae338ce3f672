"""The settings of the service, read from flags, from environment variables (prefix PGB_) and from a TOML file.

A flag wins over an environment variable, and an environment variable wins over the file. The file wins over variables
with the prefix PGB_DEFAULT_, in which an image has its own defaults. A name that is not a setting is an error in all of
them, so that a misspelt limit is reported and not ignored.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

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
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from pgb_core.flags import Parser
from pgb_core.inference.choose import AUTO
from pgb_core.inference.runtimes.registry import RUNTIMES, devices

PREFIX = "PGB_"
DEFAULTS = f"{PREFIX}DEFAULT_"
_OF_THE_JOB = f"{PREFIX}CACHE"  # where `pgb compress` keeps scores
_LONGEST = 1e9  # seconds: what clocks and timers can count
_MOST_BYTES = (1 << 31) - 1  # of one body
_MOST = (1 << 31) - 1  # of anything that is counted; clients of v2 read max_items as a number of 32 bits
_MOST_THREADS = 1024
_EMPTY = "is empty; leave it out to take the default"
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([\w.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?", re.IGNORECASE | re.ASCII)
_PORTS = {"http": 80, "https": 443}
_ENDPOINT = re.compile(r"https?://[^\s/?#]+[^\s?#]*", re.IGNORECASE)
# What Kubernetes puts into every container beside a service whose name is pgb, or begins with pgb-.
_LINKED = re.compile(rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)")


def _several(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _at_home(value: Any) -> Any:
    """A shell has put a home in place of ~ where it saw a path begin, but not in a file or behind --flag=."""
    return os.path.expanduser(value) if isinstance(value, str) else value


Several = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_several)]
Place = Annotated[Path, BeforeValidator(_at_home)]


@dataclass(frozen=True)
class _OneOf:
    """A string that must be one of the names in a table. The table is read when the value is checked, not before."""

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

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, allow_inf_nan=False)
    file: ClassVar[Mapping[str, Any]] = {}  # what the TOML file says

    artifacts: Several = Field(
        (),
        description="Models to serve, each as PATH, NAME=PATH or hf://REPO; the first model of a task answers requests "
        "that name none",
    )
    models_dir: Place | None = Field(
        None,
        description="Folder of artifacts at NAME/ or NAME/VERSION/; an administrator can load models from it while the "
        "service runs",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; 0.0.0.0 means all IPv4 addresses of this machine, and :: all addresses, "
        "IPv6 and IPv4",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free port")

    form: str = Field(
        AUTO,
        description="Form in which each model is served. auto times the artifact's forms when the model loads, and "
        "picks the fastest one that stays within max_form_drop. Name a form where replicas must give equal scores",
    )
    max_form_drop: float = Field(
        0.5,
        ge=0,
        description="Points of the task's metric that a form may lose to the model if auto is to choose it. Where the "
        "loss was not measured on labelled rows, 99% of the answers must be equal",
    )
    runtime: Annotated[str, _OneOf(lambda: (AUTO, *RUNTIMES))] = Field(
        AUTO, description="Runtime that runs the models; auto is the usual runtime of the form"
    )
    device: Annotated[str, _OneOf(devices)] = Field(
        "cpu", description="Device that the runtime uses: cpu, cuda, or auto for cuda if the runtime has it"
    )
    threads: int = Field(
        0,
        ge=0,
        le=_MOST_THREADS,
        description="Threads of the runtime; 0 means one for each core that this process may use",
    )

    max_batch_tokens: int = Field(
        1024,
        ge=1,
        le=_MOST,
        description="Largest number of tokens in one batch, padding included; a longer input runs alone",
    )
    max_queue_tokens: int = Field(
        131_072,
        ge=1,
        le=_MOST,
        description="Largest number of tokens ahead of a request at one model, its own included; a request with more "
        "gets 429 while others wait",
    )
    max_queue_seconds: float = Field(
        2.0,
        gt=0,
        le=_LONGEST,
        description="Longest estimated wait for other requests; a request whose wait would be longer gets 429",
    )
    max_overtake_seconds: float = Field(
        0.1,
        ge=0,
        le=_LONGEST,
        description="An input may join the batch of an older one if it arrived at most this many seconds after it, or "
        "within a third of the time that the older one has waited",
    )
    max_request_seconds: float = Field(
        60.0, gt=0, le=_LONGEST, description="Longest time that a request may take; a client can ask for less"
    )

    max_body_bytes: int = Field(
        4 << 20,
        ge=1024,
        le=_MOST_BYTES,
        description="Largest request body in bytes, both as sent and after decompression",
    )
    max_pending_bytes: int = Field(
        256 << 20,
        ge=1024,
        le=1 << 40,
        description="Largest number of bytes of all request bodies held at one time. The same limit holds for the "
        "answers that clients do not fetch, and for the bodies that wait for earlier requests of their connection",
    )
    max_header_bytes: int = Field(
        32 << 10, ge=1024, le=1 << 20, description="Largest request head in bytes: request line and headers"
    )
    max_connections: int = Field(
        4096,
        ge=1,
        le=_MOST,
        description="Largest number of open connections; when one more arrives, an idle one is closed, or one of the "
        "client that keeps most of them busy",
    )
    max_body_seconds: float = Field(
        30.0, gt=0, le=_LONGEST, description="Time for a request's head to arrive, and the same again for its body"
    )
    max_items: int = Field(128, ge=1, le=_MOST, description="Largest number of inputs in one request")
    max_characters: int = Field(200_000, ge=1, le=_MOST, description="Largest number of characters in one text")
    max_windows: int = Field(
        256,
        ge=1,
        le=_MOST,
        description="Largest number of windows into which the long texts or contexts of one request are cut",
    )

    max_load_seconds: float = Field(
        300.0, gt=0, le=_LONGEST, description="Time within which a model must have loaded and passed its check"
    )
    drain_seconds: float = Field(
        5.0,
        ge=0,
        le=_LONGEST,
        description="Time from the signal to stop until new connections are refused; readiness is 503 meanwhile",
    )
    stop_seconds: float = Field(
        30.0, gt=0, le=_LONGEST, description="Time after drain_seconds within which open requests must be answered"
    )
    keep_alive_seconds: int = Field(75, ge=1, le=_LONGEST, description="Time after which an idle connection is closed")

    keys_file: Place | None = Field(
        None,
        description="File of hashed API keys; without it everyone may ask models, and nobody may administer them",
    )
    metrics: bool = Field(True, description="Serve /metrics")
    metrics_key: bool = Field(False, description="Require a key for /metrics too; needs keys_file")
    ui: bool = Field(True, description="Serve the pages at /ui and /docs")
    cors_origins: Several = Field((), description="Web origins whose pages may call this service (CORS)")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that the JSON log on standard error shows"
    )
    otlp_endpoint: str | None = Field(
        None, description="OTLP endpoint to which OpenTelemetry spans are sent, for example http://host:4318"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _not_empty(cls, value: Any, info: ValidationInfo) -> Any:
        """An empty host would mean every address, and an empty path the current directory."""
        if isinstance(value, str) and not value.strip():
            raise ValueError(_EMPTY)
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float):  # which would be 1 or 0
            raise ValueError("must be a number, not true or false")
        parts = _several(value) if kind == tuple[str, ...] else value
        if isinstance(parts, list) and any(isinstance(part, str) and not part.strip() for part in parts):
            raise ValueError("has an empty entry in its list; leave that out")
        return value

    @field_validator("max_pending_bytes")
    @classmethod
    def _room_for_two(cls, value: int, info: ValidationInfo) -> int:
        if value < 2.5 * info.data.get("max_body_bytes", 0):
            raise ValueError("is less than two and a half times max_body_bytes; one body of that size would not fit")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in value and len(value) > 1:
            raise ValueError("has * beside other origins; * is every origin, so leave it out, or give it alone")
        return tuple(map(_origin, value))

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.fullmatch(value):
            raise ValueError(
                "must be an http:// or https:// URL without ? and #, such as http://host:4318; "
                "the service adds /v1/traces"
            )
        if value is not None and value.rstrip("/").endswith("/v1/traces"):
            raise ValueError("ends with /v1/traces, which the service adds; leave that out")
        return value

    @field_validator("metrics_key")
    @classmethod
    def _needs_keys(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("metrics") is False:
            raise ValueError("requires a key for /metrics, which metrics = false switches off; leave one of them out")
        if value and info.data.get("keys_file") is None:
            raise ValueError("needs keys_file; without one there are no keys to ask for")
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
        """Flags, then environment, then file, then an image's defaults; the first that names a setting wins."""
        defaults = EnvSettingsSource(settings_cls, env_prefix=DEFAULTS)
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls.file)), defaults


def _origin(given: str) -> str:
    """An origin as browsers send it: in small letters, and without the port that its scheme has anyway."""
    match = _ORIGIN.fullmatch(given)
    if given != "*" and (match is None or not 0 < int(match[3] or 1) <= 65535):
        raise ValueError(
            "must be a list of scheme://host or scheme://host:port, without a path, or *; "
            "write a host with letters beyond ASCII as browsers send it, xn--..."
        )
    if match is None:
        return given
    scheme, host, port = match[1].lower(), match[2].lower(), int(match[3] or 0)
    return f"{scheme}://{host}:{port}" if port and port != _PORTS.get(scheme) else f"{scheme}://{host}"


def read_settings(argv: Sequence[str]) -> Settings:
    """Read flags, environment and the file that --config or PGB_CONFIG names. Raises SettingsError."""
    flags = {name: value for name, value in vars(_parser().parse_args(argv)).items() if value not in (None, [])}
    variables = {name.upper(): value for name, value in os.environ.items()}  # in small letters they count, too
    config = flags.pop("config", variables.get(f"{PREFIX}CONFIG"))
    if config is not None and not config.strip():  # a service would start without what the file says, such as keys
        raise SettingsError(f"config: {_EMPTY}")
    known = {f"{prefix}{name}".upper() for prefix in (PREFIX, DEFAULTS) for name in Settings.model_fields}
    known |= {f"{PREFIX}CONFIG", _OF_THE_JOB}
    names: dict[str, str] = {}
    for name in sorted(os.environ):
        large = name.upper()  # a setting is taken in small letters, too
        if large.startswith(PREFIX) and large not in known and not _LINKED.fullmatch(large):
            raise SettingsError(f"environment: {name} is not a setting; docs/settings.md lists them")
        if large in known and names.setdefault(large, name) != name:
            raise SettingsError(f"environment: {names[large]} and {name} are the same setting; leave one of them out")
    for prefix, near in ((PREFIX, "pgb"), (DEFAULTS, "pgb-default")):
        if os.environ.get(f"{prefix}PORT", "").startswith("tcp://"):
            raise SettingsError(
                f"environment: {prefix}PORT is what Kubernetes sets near a service named {near}; "
                "set enableServiceLinks: false, or give the service another name"
            )

    class Configured(Settings):
        file: ClassVar[Mapping[str, Any]] = {} if config is None else _toml(config)

    try:
        return Configured(**flags)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":  # of the file; other sources were looked through above
            raise SettingsError(f"{config}: {name} is not a setting; docs/settings.md lists them") from None
        raise SettingsError(f"{name}: {said}") from None


def _toml(path: str) -> Mapping[str, Any]:
    """The settings of a file. Raises SettingsError."""
    try:
        return tomllib.loads(Path(os.path.expanduser(path)).read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # also of bytes, of too many digits, of too many brackets
        raise SettingsError(f"{path}: cannot be read as TOML ({error})") from None


def _parser() -> Parser:
    parser = Parser(
        prog="pgb serve",
        usage="%(prog)s [ARTIFACT ...] [--SETTING VALUE ...]",
        description="Serve artifacts over HTTP.",
        epilog="The default of a setting is in brackets. Lists are written a,b,c, and switches true or false.",
    )
    parser.add_argument("artifacts", nargs="*", help=_help("artifacts"))
    parser.add_argument("--config", help="TOML file of settings; PGB_CONFIG names one too")
    for name, field in Settings.model_fields.items():
        if name != "artifacts":
            default = "" if field.default in (None, ()) else f" [{field.default}]"
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"{_help(name)}{default}")
    return parser


def _help(name: str) -> str:
    """The description of a setting for argparse, which reads a percent sign as a format."""
    return str(Settings.model_fields[name].description).replace("%", "%%")
