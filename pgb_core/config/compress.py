"""Settings of `pgb compress`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from pgb_core.config.common import CommonConfig
from pgb_core.config.values import Place, known_forms, one_of, several
from pgb_core.errors import ConfigError
from pgb_core.options import METHODS, MethodOptions, is_int8
from pgb_core.options.refusals import said

# Settings that act in re-finetuning alone.
_OF_TRAINING = (
    *("epochs", "steps", "learning_rate", "tokens", "more_text", "best_state", "noise", "distill", "checkpoint_every"),
)
_OF_ROWS = ("samples", "max_length")
_OF_PRUNING = ("budget", "ridge", "plan_for")
_NO_SHARES = "keep must be a share, or shares separated by commas, such as 0.5,0.25"


class CompressConfig(CommonConfig):
    """Settings of `pgb compress`. Options of the method may be given beside the other settings.

    keep: with 1 the dense model is exported unchanged, and no data is needed; methods that train for int8 train it
    first. A setting of training is refused where nothing is trained. train: without it, re-finetuning learns from the
    dense model on the `calibrate` rows. threads: the last bits of sums depend on their number. So a run that reuses
    stages of an earlier run has as many threads as that run by default. resume: True continues a stopped run of the
    same settings and data, and refuses any other; None reuses the stages that fit; False starts again. Raises
    ConfigError.
    """

    out: Place = Field(
        description="directory of the artifact (required); of several sizes, the directory that holds one for each"
    )
    method: Annotated[str, one_of(tuple(METHODS))] = Field("pgb", description="method that makes the model smaller")
    options: SerializeAsAny[MethodOptions] = Field(description="options of the method")
    keep: float = Field(
        0.5,
        ge=0.01,
        le=1,
        description="share of the encoder's weights that is kept, 0.01 to 1; embeddings and the head of the task are "
        "not counted. Of several, such as 0.5,0.25,0.12, each is made from the one before it",
    )
    further: Annotated[tuple[float, ...], BeforeValidator(several)] = Field(
        (), description="smaller sizes, the largest first, each made from the one before it; `keep` takes them too"
    )
    max_drop: float | None = Field(
        None,
        gt=0,
        le=100,
        description="in place of --keep: find the smallest size that loses at most this many points of the metric (a "
        "point is 0.01). One half of --eval chooses the size, the other half confirms it",
    )
    min_speedup: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="in place of --keep: find the largest size that is this many times as fast as the fastest dense "
        "form on this machine; needs --eval",
    )
    budget: Literal["weights", "flops"] = Field(
        "weights", description="what --keep is a share of: weights, or the FLOPs of an input of 128 tokens"
    )
    epochs: float = Field(3.0, ge=0, le=1000, description="passes over the rows in re-finetuning, 0 for no training")
    steps: int | None = Field(
        None, ge=1, le=100_000_000, description="steps of re-finetuning, of --tokens tokens each, in place of --epochs"
    )
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="peak learning rate; by default 1e-4 / sqrt(keep)"
    )
    noise: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the matrices that are rounded to int8 at each of the last 30% of the steps of "
        "re-finetuning, drawn anew at each step; only if --forms names a form in int8",
    )
    tokens: int = Field(1024, ge=16, description="tokens in a step of re-finetuning, padding included")
    more_text: float = Field(
        0.0,
        ge=0,
        le=10,
        description="make additional rows to learn from, as a share of those that are given: 0.5 makes half as many. "
        "The dense model labels them, and an epoch is longer by this share (default 0)",
    )
    best_state: bool = Field(
        False,
        description="hold some rows back from re-finetuning (1% for each epoch, at most 5% and 512 rows), and keep "
        "the state of the training that is best on them in place of the last one",
    )
    ridge: float = Field(
        0.01,
        gt=0,
        le=1000,
        description="penalty of the ridge regression in compensation: a larger one keeps weights nearer to their old "
        "values",
    )
    plan_for: Annotated[str, AfterValidator(lambda name: known_forms((name,))[0])] | None = Field(
        None,
        description="form whose measured run times decide which parts are worth keeping; by default the first form of "
        "--forms in int8, or else the first; fp32 for --structure disjoint",
    )
    seed: int = Field(
        0,
        ge=0,
        le=(1 << 32) - 1,
        description="seed of everything that is drawn at random, such as the order of rows (default 0)",
    )
    checkpoint_every: int = Field(
        200, ge=1, description="steps after which the state of the training is saved; a stopped run continues from it"
    )
    resume: bool | None = Field(
        None,
        description="continue a stopped run of the same settings, and refuse any other; --no-resume starts again "
        "(default: reuse the stages of a stopped run that fit)",
    )
    force: bool = Field(False, description="replace an artifact that exists at --out")

    @property
    def sizes(self) -> tuple[float, ...]:
        """Every size that is made, the largest first."""
        return (self.keep, *self.further)

    def members(self) -> list[CompressConfig]:
        """The settings of each size; of several, each has a directory of its own in the output."""
        if not self.further:
            return [self]
        return [
            self.model_copy(update={"keep": size, "further": (), "out": str(Path(self.out) / f"keep-{size}")})
            for size in self.sizes
        ]

    @property
    def sought(self) -> bool:
        """Whether the size is searched for, by --max-drop or --min-speedup."""
        return self.max_drop is not None or self.min_speedup is not None

    @property
    def trains(self) -> bool:
        """Whether there is any re-finetuning."""
        return self.steps is not None or self.epochs > 0

    @property
    def noisy(self) -> bool:
        """Whether re-finetuning quantises at random: an int8 form is made, and the method does not train for it."""
        return not self.options.quantises and any(map(is_int8, (*self.forms, self.plan_for or "")))

    @property
    def as_it_is(self) -> bool:
        """Whether the dense model is exported unchanged."""
        return self.keep == 1 and not self.options.quantises

    @property
    def prices(self) -> str:
        """The form whose prices the plan is made for: `plan_for`, or the first int8 form, or the first form."""
        return self.plan_for or next(filter(is_int8, self.forms), self.forms[0])

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(said(error, (CompressConfig, *METHODS.values()))) from error

    @model_validator(mode="before")
    @classmethod
    def _with_options(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Move the method's options, which may be given among the other settings, into `options`."""
        settings = _with_sizes(settings)
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
            raise ValueError(f"{min(beside.keys() & given.keys())} is given twice: in the options, and beside them")
        rest = {name: value for name, value in settings.items() if name not in beside}
        return {**rest, "options": kind(**given, **beside)}

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.train is None and self.calibrate is None and not self.as_it_is:
            raise ValueError("no data: give --train with labelled rows, or --calibrate with texts (labels not needed)")
        if self.steps is not None and "epochs" in self.model_fields_set:
            raise ValueError("--steps and --epochs are two budgets; give only one")
        if self.options.learns and not self.trains and self.keep < 1:
            raise ValueError(
                f"epochs 0: {self.method} needs training to choose what to keep; use more, such as --epochs 3"
            )
        if self.more_text and not self.distill:
            raise ValueError("--more-text is labelled by the dense model, which --no-distill leaves out; drop one")
        if self.further and not (self.keep < 1 and all(a > b >= 0.01 for a, b in pairwise(self.sizes))):
            raise ValueError("keep: several sizes are shares from 0.01 to below 1, each once, such as 0.5,0.25,0.12")
        if self.further and not self.options.continues:
            raise ValueError(
                f"keep: {self.method}, as set, cannot start from a model that is compressed already, so it makes one "
                f"size a run; give one --keep, or a --method that can: {', '.join(_continuing())}"
            )
        if self.sought and {"keep", "further"} & self.model_fields_set:
            raise ValueError("--keep sets the size, --max-drop and --min-speedup search for it; give one or the other")
        if self.sought and self.eval is None:
            raise ValueError(
                "--max-drop and --min-speedup need labelled rows to choose and confirm the size; give --eval"
            )
        if self.budget == "flops" and not self.options.saves_flops:
            raise ValueError(
                "budget flops: this structure saves no FLOPs, because its graph is dense; use --budget weights"
            )
        return self

    @model_validator(mode="after")
    def _acts(self) -> Self:
        """A setting of training that was given has to act; one that asks for nothing, such as 0, may stand."""
        asked = [name for name in _OF_TRAINING if name in self.model_fields_set and self._asks(name)]
        asked += [name for name in self.options.of_training if name in self.options.model_fields_set]
        if self.as_it_is and self.train is not None and not self._rows_act:
            asked.append("train")
        if asked and self.as_it_is:
            raise ValueError(
                f"{_spelt(asked[0])} is for re-finetuning, and keep 1 exports the dense model unchanged; leave it out, "
                f"or train for int8 with --method {_quantising()}"
            )
        if not self.trains and (idle := [name for name in asked if name != "epochs"]):
            raise ValueError(f"{_spelt(idle[0])} is for re-finetuning, and --epochs 0 asks for none; drop one")
        if "noise" in asked and self.options.quantises:
            raise ValueError(f"--noise: {self.method} quantises in training by itself; leave --noise out")
        if "noise" in asked and not self.noisy:
            raise ValueError(
                "--noise rounds to int8 in re-finetuning, and none of --forms is in int8; leave it out, or add int8 to "
                "--forms"
            )
        return self

    @model_validator(mode="after")
    def _prunes(self) -> Self:
        """A setting of pruning, or of the rows for it, that was given has to act."""
        pruning = [name for name in _OF_PRUNING if name in self.model_fields_set and getattr(self, name) is not None]
        if self.as_it_is:
            pruning += sorted(self.options.model_fields_set)
            if pruning:
                raise ValueError(
                    f"{_spelt(pruning[0])} is for pruning, and keep 1 exports the dense model unchanged; leave it out"
                )
            rows = [name for name in _OF_ROWS if name in self.model_fields_set and getattr(self, name) is not None]
            if rows and self.train is None and self.calibrate is None:
                raise ValueError(f"{_spelt(rows[0])} is for rows to learn from, and none are given; leave it out")
        elif self.keep == 1 and pruning:
            raise ValueError(f"{_spelt(pruning[0])} is for pruning, and keep 1 prunes nothing; leave it out")
        if "ridge" in pruning and not self.options.compensates:
            raise ValueError(
                f"--ridge is for compensation, and {self.method}, as set, trains in place of it; leave it out"
            )
        if "plan_for" in pruning and not self.options.priced:
            raise ValueError(f"--plan-for names run times, and {self.method} does not go by them; leave it out")
        return self

    def _asks(self, name: str) -> bool:
        """Whether a setting asks for something; 0 and the like do not."""
        return not self.distill if name == "distill" else bool(getattr(self, name))

    @property
    def _rows_act(self) -> bool:
        """Whether rows change what is exported unchanged: the ranges of an int8 form, or the tokens that are kept."""
        return self.vocabulary == "used" or any(map(is_int8, self.forms))


def _spelt(name: str) -> str:
    return "--no-distill" if name == "distill" else f"--{name.replace('_', '-')}"


def _with_sizes(settings: dict[str, Any]) -> dict[str, Any]:
    """Several sizes in `keep`, as a list or a text, become the largest and those that follow it."""
    given = settings.get("keep")
    if isinstance(given, str):
        given = given.split(",")
    elif not isinstance(given, list | tuple) or not given:
        return settings
    elif not all(isinstance(size, int | float) and not isinstance(size, bool) for size in given):
        raise ValueError(_NO_SHARES)
    try:
        first, *rest = sorted(map(float, given), reverse=True)
    except (ValueError, OverflowError):
        raise ValueError(_NO_SHARES) from None
    if rest and settings.get("further"):
        raise ValueError("keep names several sizes already; leave further out")
    return {**settings, "keep": first, **({"further": tuple(rest)} if rest else {})}


def _continuing() -> list[str]:
    """Methods that can start from a model that is compressed already."""
    return [name for name, kind in METHODS.items() if kind().continues]


def _quantising() -> str:
    """Methods that train for int8, with keep 1 too."""
    *others, last = (name for name, kind in METHODS.items() if kind().quantises)
    return f"{', '.join(others)} or {last}"
