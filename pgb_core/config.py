"""Every setting of a compression, frozen and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)

from pgb_core.artifact import TASKS
from pgb_core.errors import ConfigError
from pgb_core.options import FORMS, METHODS, MethodOptions
from pgb_core.options.refusals import said


def _one_of(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"is unknown; use one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else _several(value)


def _forms(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in FORMS:
            raise ValueError(f"names the unknown form {name!r}; choose of {', '.join(FORMS)}")
    if not value or len(set(value)) < len(value):
        raise ValueError("must name one form or more, each once")
    return value


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


Place = Annotated[str, BeforeValidator(_as_text)]


class Asked(BaseModel):
    """What every command that makes artifacts may be asked for: the model, rows, how to read them, where to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    checkpoint: Place = Field(
        description="Hugging Face directory or hub name (safetensors weights), or an adapter that PEFT wrote"
    )
    task: Annotated[str, _one_of(TASKS)] | None = Field(
        None, description="by default what the checkpoint was trained for"
    )
    train: Place | None = Field(None, description="labelled rows for re-finetuning")
    calibrate: Place | None = Field(
        None, description="rows for scores and compensation, labelled or not; by default train"
    )
    eval: Place | None = Field(None, description="labelled rows; dense and compressed scores go into the manifest")
    text_column: str | None = Field(None, description="column of the text, where its name does not say it")
    pair_column: str | None = Field(None, description="column of the second text of a pair")
    label_column: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        (), description="column of the label; again for each column of 0 and 1 of a multi-label checkpoint"
    )
    labels: Literal["names", "ids", "vector"] | None = Field(
        None, description="what labels are, where two readings fit"
    )
    trust_labels: bool = Field(False, description="go on though the checkpoint contradicts the labels")
    distill: bool = Field(True, description="learn from the dense model")
    samples: int = Field(1024, ge=1, description="rows to score and to compensate on")
    max_length: int | None = Field(None, ge=16, description="tokens at which rows to learn from are cut")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to run")
    forms: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_forms)] = Field(
        ("fp32", "int8"),
        description="what the artifact is to carry, separated by commas; the service serves the fastest that fits",
    )
    threads: int | None = Field(None, ge=1, le=1024, description="to compute on; by default the cores of this process")
    cache: Place | None = Field(
        None,
        description="directory in which scores of weights outlive the run, at most 2 GiB; empty for none (default "
        "what PGB_CACHE names, else pgb-serve in the user's cache directory)",
    )


class CompressConfig(Asked):
    """What `pgb compress` was asked for. Options of the method may be given beside the other settings.

    With `keep` of 1 the dense model is exported as it is, and no data is needed; methods that train for int8 train it
    first. Without `train` the re-finetuning learns from the dense model on the `calibrate` rows. threads: sums depend
    on their number in their last bits, so a run that takes over another's stages has as many as that one by default.
    resume: True goes on with a stopped run of the same settings and data, or refuses; None takes over what fits of it;
    False starts anew. Raises ConfigError.
    """

    out: Place = Field(description="directory of the artifact")
    method: Annotated[str, _one_of(tuple(METHODS))] = Field("pgb", description="how the model is made smaller")
    options: SerializeAsAny[MethodOptions] = Field(description="of the method")
    keep: float = Field(0.5, ge=0.01, le=1, description="share of encoder weights that stays, 0.01 to 1")
    max_drop: float | None = Field(
        None,
        gt=0,
        le=100,
        description="points of the metric that may be lost; the smallest size within is found, in place of --keep. One "
        "half of --eval chooses, the other confirms",
    )
    min_speedup: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="times as fast as the fastest dense form on this machine; the largest size that is so is found, in "
        "place of --keep",
    )
    budget: Literal["weights", "flops"] = Field("weights", description="what keep counts")
    epochs: float = Field(3.0, ge=0, le=1000, description="passes of re-finetuning, 0 for none")
    learning_rate: float | None = Field(None, gt=0, lt=1, description="its peak; by default 1e-4 / sqrt(keep)")
    noise: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the matrices that are quantised at each of the last steps of re-finetuning, where a form "
        "in int8 is asked for",
    )
    tokens: int = Field(1024, ge=16, description="padded tokens of a step of re-finetuning")
    ridge: float = Field(0.01, gt=0, le=1000, description="pull of the compensation toward the old weights")
    plan_for: Annotated[str, AfterValidator(lambda name: _forms((name,))[0])] | None = Field(
        None, description="form by whose prices parts are weighed; by default the first in int8, else the first"
    )
    seed: int = Field(0, ge=0, le=(1 << 32) - 1, description="of sampling and order")
    checkpoint_every: int = Field(200, ge=1, description="steps between states that another run can go on from")
    resume: bool | None = Field(
        None,
        description="go on with a stopped run of the same settings, and refuse another; --no-resume starts anew "
        "(default: take over what fits of a stopped run)",
    )
    force: bool = Field(False, description="replace the artifact that stands at out")

    @property
    def sought(self) -> bool:
        """Whether the size is to be found."""
        return self.max_drop is not None or self.min_speedup is not None

    @property
    def noisy(self) -> bool:
        """Whether a form is asked for that gains by quantisation noise, and no method trains for it otherwise."""
        return not self.options.quantises and any("int8" in form for form in (*self.forms, self.plan_for or ""))

    @property
    def as_it_is(self) -> bool:
        """Whether the dense model is exported as it is."""
        return self.keep == 1 and not self.options.quantises

    @property
    def prices(self) -> str:
        """The form whose prices the plan is made for: the one asked for, or the first in int8, or the first."""
        return self.plan_for or next((form for form in self.forms if "int8" in form), self.forms[0])

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(said(error, (CompressConfig, *METHODS.values()))) from error

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Put the method's options, which may stand among the other settings, in one place."""
        method, given = settings.get("method", "pgb"), settings.get("options", {})
        if not isinstance(method, str) or method not in METHODS:
            return {**settings, "options": MethodOptions()}  # the field says what is wrong with the method
        kind = METHODS[method]
        if isinstance(given, MethodOptions):
            if type(given) is not kind:
                raise ValueError(f"options are those of another method than {method}; give a {kind.__name__}")
            given = given.model_dump(exclude_unset=True)
        if not isinstance(given, dict):
            raise ValueError("options must be a table of the method's options")
        beside = {name: settings[name] for name in kind.model_fields if name in settings}
        if beside.keys() & given.keys():
            raise ValueError(f"{min(beside.keys() & given.keys())} is given twice, beside the options and among them")
        rest = {name: value for name, value in settings.items() if name not in beside}
        return {**rest, "options": kind(**given, **beside)}

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.train is None and self.calibrate is None and not self.as_it_is:
            raise ValueError("no data: give --train with labelled rows, or --calibrate with texts (labels not needed)")
        if self.options.learns and not self.epochs and self.keep < 1:
            raise ValueError(f"epochs 0: {self.method} learns in training what to keep; give more, such as --epochs 3")
        if self.sought and "keep" in self.model_fields_set:
            raise ValueError("a size and what it is to be found by: give --keep, or --max-drop and --min-speedup")
        if self.sought and self.eval is None:
            raise ValueError("no rows to choose and to confirm by: give --eval with labelled rows")
        if self.budget == "flops" and not self.options.saves_flops:
            raise ValueError("budget flops: this structure saves none, its graph is dense; use --budget weights")
        return self


def from_toml(path: str | Path, **overrides: Any) -> CompressConfig:
    """Settings from a TOML file of the same names; arguments that are not None win.

    Raises ConfigError when the file is missing, malformed or names an unknown setting.
    """
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return CompressConfig(**{**raw, **given})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
