"""What a model's batches and the requests around them take on one machine, and the file that keeps it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgb_core.errors import ConfigError, DataError
from pgb_core.inference.runtimes.timing import lengths
from service.batching.queue import Cost

_INSTANT = 1e-7  # seconds
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(_Strict):
    """A batch of `rows` inputs of `tokens` tokens each takes `seconds`."""

    rows: int = Field(ge=1)
    tokens: int = Field(ge=1)
    seconds: float = Field(gt=0, allow_inf_nan=False)


class Overhead(_Strict):
    """Core seconds that a process takes for a request besides running the model: reading, tokenising, answering."""

    per_request: _Seconds
    per_input: _Seconds
    per_token: _Seconds

    def seconds(self, inputs: int, tokens: int) -> float:
        """The overhead of a request with so many inputs, of so many tokens in all."""
        return self.per_request + inputs * self.per_input + tokens * self.per_token


class Size(_Strict):
    """Times of batches while `workers` processes of `threads` threads each run at once, each process on its own cores.

    spread: quantiles, evenly spaced, of the time of a run as a share of the median run of its batch.
    """

    workers: int = Field(ge=1)
    threads: int = Field(ge=1)
    points: list[Point] = Field(min_length=1)
    spread: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1)

    @property
    def name(self) -> str:
        """Workers x threads."""
        return f"{self.workers}x{self.threads}"

    @property
    def cores(self) -> int:
        """The cores of one replica."""
        return self.workers * self.threads

    @cached_property
    def times(self) -> Times:
        """The run times of batches."""
        return Times(self.points)


class Profile(_Strict):
    """A model's times. batch_tokens: of the largest batches that were timed. machine: what it was measured on.
    busy: why the times are not to be trusted, or None."""

    schema_version: Literal[1] = 1
    model: str
    digest: str
    task: str
    form: str
    runtime: str
    device: str
    max_length: int = Field(ge=1)
    batch_tokens: int = Field(ge=1)
    weights_kept: float
    machine: dict[str, Any]
    busy: str | None
    overhead: Overhead
    sizes: list[Size] = Field(min_length=1)

    def size(self, name: str) -> Size:
        """Raises ConfigError when it was not measured."""
        for size in self.sizes:
            if size.name == name:
                return size
        known = ", ".join(size.name for size in self.sizes)
        raise ConfigError(f"--sizes {name}: the profile has {known}; measure the artifact with --sizes {name}")

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Raises DataError when the file is no profile."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise DataError(
                f"{path}: no profile: {where}: {first['msg']}; make one: name an ARTIFACT and a new file for --profile"
            ) from None


class Times:
    """Seconds of any batch, from measured points: linear in rows and then in tokens, and in both beyond the points."""

    def __init__(self, points: Sequence[Point]) -> None:
        columns: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        for point in points:
            columns[point.tokens].append((point.rows, point.seconds))
        self._columns = {tokens: sorted(column) for tokens, column in sorted(columns.items())}
        self._known: dict[tuple[int, int], float] = {}

    def seconds(self, rows: int, tokens: int) -> float:
        """The run time of `rows` inputs that are padded to `tokens` tokens."""
        if (rows, tokens) not in self._known:
            line = [(width, _at(column, rows)) for width, column in self._columns.items()]
            self._known[rows, tokens] = max(_at(line, tokens), _INSTANT)
        return self._known[rows, tokens]

    def cost(self, max_length: int) -> Cost:
        """As a model measures it when it loads."""
        short, long = lengths(max_length)
        return Cost.of(short, self.seconds(1, short), long, self.seconds(1, long))

    def least(self, tokens: int, batch_tokens: int) -> float:
        """Seconds of an input of so many tokens in the best batch of inputs like it."""
        most = max(1, batch_tokens // tokens)
        return min(self.seconds(rows, tokens) / rows for rows in (1, most))


def _at(line: Sequence[tuple[int, float]], place: int) -> float:
    """The value at a place on a broken line. Before its first point and after its last one the nearest piece goes on;
    of a line of one point the value grows with the place."""
    if len(line) == 1:
        return line[0][1] * place / line[0][0]
    right = min(max(bisect_left(line, (place, float("-inf"))), 1), len(line) - 1)
    (a, low), (b, high) = line[right - 1], line[right]
    return low + (high - low) * (place - a) / (b - a)
