"""Settings of a comparison of methods."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from pgb_core.compare.files import percent
from pgb_core.config import CommonConfig, CompressConfig, Place
from pgb_core.config.values import listed
from pgb_core.errors import ConfigError
from pgb_core.options import METHODS
from pgb_core.options.refusals import said

QUICK_MINUTES, QUICK_SAMPLES, QUICK_SIZES = 1.0, 256, (0.5,)


def _numbers(value: Any) -> Any:
    """As `listed`, with numbers in place of their texts."""
    try:
        return tuple(map(float, listed(value))) if isinstance(value, str) else listed(value)
    except ValueError:
        return value


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    every = tuple(METHODS) if names == ("all",) else names
    for name in every:
        if name not in METHODS:
            raise ValueError(f"names the unknown method {name!r}; use {', '.join(METHODS)}, or all")
    if not every or len(set(every)) < len(every):
        raise ValueError("must name one method or more, each once")
    return every


def _shares(sizes: tuple[float, ...]) -> tuple[float, ...]:
    if not sizes or any(not 0.01 <= size < 1 for size in sizes) or len(set(sizes)) < len(sizes):
        raise ValueError("must be shares from 0.01 to below 1, each once, such as 0.5,0.25")
    if len(set(map(percent, sizes))) < len(sizes):
        raise ValueError("has sizes that are equal in six digits, by which points are named; give only one of them")
    return tuple(sorted(sizes, reverse=True))


class CompareConfig(CommonConfig):
    """Settings of `pgb compare`. Raises ConfigError."""

    out: Place = Field(
        description="directory of the report and of the artifacts, one for each point (a method at a size); required"
    )
    methods: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_known)] = Field(
        tuple(METHODS), description="methods to compare, separated by commas (default all)"
    )
    keep: Annotated[tuple[float, ...], BeforeValidator(_numbers), AfterValidator(_shares)] = Field(
        (0.5, 0.25), description="shares of the encoder's weights that are kept, separated by commas"
    )
    minutes: float | None = Field(
        None,
        gt=0,
        le=1440,
        description="approximate minutes for each point, from which its epochs are computed (default 8, with --quick "
        "1)",
    )
    epochs: float | None = Field(
        None, ge=0, le=1000, description="passes over the rows for each point, in place of --minutes"
    )
    steps: int | None = Field(
        None, ge=1, le=100_000_000, description="steps of training for each point, in place of --minutes"
    )
    seeds: int = Field(1, ge=1, le=100, description="number of runs of each point, each with another seed")
    quick: bool = Field(
        False,
        description=f"a first impression: --minutes {QUICK_MINUTES:g}, --keep {QUICK_SIZES[0]:g} and --samples "
        f"{QUICK_SAMPLES}",
    )
    seconds: float = Field(
        1.0, gt=0, le=600, description="seconds for which each form is timed at each shape (batch x tokens)"
    )
    eval: Place = Field(description="file of labelled rows on which every point is evaluated; required")

    def __init__(self, **settings: Any) -> None:
        if settings.get("quick"):
            settings = {"samples": QUICK_SAMPLES, "keep": QUICK_SIZES, **settings}
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(said(error, (CompareConfig,))) from error

    @model_validator(mode="after")
    def _has_one_budget(self) -> Self:
        given = [f"--{name}" for name in ("minutes", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given[:2])} are two budgets; give only one")
        learning = [name for name in self.methods if METHODS[name]().learns]
        if self.epochs == 0 and learning:
            raise ValueError(
                f"epochs 0: {', '.join(learning)} need training to choose what to keep; use more epochs, or other "
                "--methods"
            )
        if self.epochs == 0 and not self.distill:
            raise ValueError("--no-distill is for re-finetuning, and --epochs 0 asks for none; drop one")
        if self.train is None and self.calibrate is None:
            raise ValueError("no data: give --train with labelled rows, or --calibrate with texts (labels not needed)")
        return self

    @property
    def minutes_a_point(self) -> float | None:
        """Minutes of a point; None where epochs or steps are given."""
        if self.epochs is not None or self.steps is not None:
            return None
        return self.minutes or (QUICK_MINUTES if self.quick else 8.0)

    def point(self, method: str, keep: float, seed: int, epochs: float, out: str) -> CompressConfig:
        """The compression of one point. epochs: not counted where steps are given, but of the dense point."""
        passed = {name: getattr(self, name) for name in CommonConfig.model_fields}
        length: dict[str, Any] = {"epochs": epochs} if self.steps is None else {"steps": self.steps}
        if keep == 1:  # nothing is trained, and rows set ranges alone
            passed |= {"train": None, "calibrate": self.calibrate or self.train, "distill": True}
            length = {"epochs": 0.0}
        return CompressConfig(**passed, method=method, keep=keep, seed=seed, out=out, **length)
