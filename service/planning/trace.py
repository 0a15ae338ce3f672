"""Requests that came, from a file: JSON lines or CSV.

A request has `at` (seconds, from any instant) and `lengths` (tokens of each of its inputs: a list in JSON, numbers
between spaces in CSV). `client` says who asks, for fair turns; without it all ask as one. Lines of the service's own
log are read too: `time`, `model`, `inputs`, `windows`, `tokens`, `key` and `timings_ms` say the same. Lines of another
model are left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pgb_core.errors import DataError
from service.planning.arrivals import SAMPLE, Arrival, Lengths, Load
from service.planning.files import rows

_LONGEST = 1e9  # seconds of a trace: of more, instants cannot be told apart
_LATEST = 1e11  # seconds since 1970: the year 5138, or March 1973 in milliseconds
_NAMED = 4  # models in a message


@dataclass(frozen=True)
class Served:
    """A model, and what the service takes in one request for it. max_length: tokens of an input, or of one window."""

    model: str
    task: str
    max_length: int
    max_items: int
    max_windows: int

    @property
    def most(self) -> int:
        """Inputs of the model that one request can become."""
        return max(self.max_items, self.max_windows)


@dataclass(frozen=True, slots=True)
class _Line:
    """A request, and where it stands. model: that the log names; empty in another trace. inputs: before any was cut
    into windows."""

    place: int
    model: str
    inputs: int
    arrival: Arrival


@dataclass(frozen=True)
class Trace:
    """Requests that came. skipped: lines of a log without a request whose inputs are known. others: lines of a log that
    are of other models."""

    arrivals: Sequence[Arrival]
    skipped: int = 0
    others: int = 0

    @property
    def rate(self) -> float:
        """Requests a second, on average."""
        return len(self.arrivals) / self._seconds

    @property
    def _seconds(self) -> float:
        return max(self.arrivals[-1].at - self.arrivals[0].at, 1e-3)

    def lengths(self) -> Sequence[Lengths]:
        """A sample of the requests."""
        return [arrival.lengths for arrival in self.arrivals[:: math.ceil(len(self.arrivals) / SAMPLE)]]

    def means(self) -> tuple[float, float]:
        """Inputs and tokens of a request, on average."""
        inputs, tokens = (sum(of(one.lengths) for one in self.arrivals) for of in (len, sum))
        return inputs / len(self.arrivals), tokens / len(self.arrivals)

    def load(self, share: float, requests: int, seed: int) -> Load:
        """All of them, or each with a chance of `share`."""
        draw = random.Random(seed)  # noqa: S311 - no secret
        kept = iter(self.arrivals) if share >= 1 else (a for a in self.arrivals if draw.random() < share)
        return Load(kept, -math.inf, min(1.0, share) * len(self.arrivals))

    @classmethod
    def read(cls, path: Path, served: Served) -> Trace:
        """The requests for a model. Raises DataError where a line is no request, or is one that the service would not
        take, or where a log is of several other models."""
        lines = [_line(path, place, row, served) for place, row in rows(path)]
        known = [line for line in lines if line is not None]
        if not known:
            raise DataError(f"{path}: there is no request in it")
        mine = _of_model(path, known, served.model)
        for line in mine:
            _check(path, line, served)
        found = sorted((line.arrival for line in mine), key=lambda arrival: arrival.at)
        first = found[0].at
        if found[-1].at - first > _LONGEST:
            raise DataError(f"{path}: its requests are {found[-1].at - first:.1e} seconds apart; `at` is in seconds")
        if found[-1].at > _LATEST:
            raise DataError(
                f"{path}: `at` is in seconds, and {found[-1].at:.2e} looks like milliseconds or less; divide it"
            )
        moved = [replace(arrival, at=arrival.at - first) for arrival in found]
        return cls(moved, len(lines) - len(known), len(known) - len(mine))


def _of_model(path: Path, lines: Sequence[_Line], model: str) -> Sequence[_Line]:
    """Those of a model. All, where they are of one model only: a service may give it another name. Raises DataError."""
    names = {line.model for line in lines if line.model}
    if model in names:
        return [line for line in lines if line.model in (model, "")]
    if len(names) > 1:
        some = ", ".join(ascii(name) for name in sorted(names)[:_NAMED])
        raise DataError(
            f"{path}: its lines are of several models ({some}), none is {model!a}; leave those of one in it"
        )
    return lines


def _check(path: Path, line: _Line, served: Served) -> None:
    """Raises DataError where the service would not take a request."""
    where, lengths = f"{path}:{line.place}", line.arrival.lengths
    if line.inputs > served.max_items:
        raise DataError(f"{where}: more inputs than the service takes, max_items is {served.max_items}")
    if len(lengths) > served.most:
        raise DataError(f"{where}: more windows than the service takes, max_windows is {served.max_windows}")
    if max(lengths) > served.max_length:
        raise DataError(f"{where}: an input is longer than the {served.max_length} tokens that the model takes")


def _line(path: Path, place: int, row: Mapping[str, Any], served: Served) -> _Line | None:
    """A request of a trace, or of a line of the log; None for a line of the log that holds none. Raises DataError."""
    try:
        if "lengths" not in row and "time" in row:
            return _logged(place, row, served)
        lengths = _whole(row["lengths"])
        if isinstance(row["at"], bool):
            raise TypeError
        return _Line(place, "", len(lengths), _arrival(float(row["at"]), lengths, row.get("client")))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(
            f"{path}:{place}: a request has `at` in seconds and `lengths`, the tokens of each input; "
            "docs/capacity.md has examples"
        ) from None


def _logged(place: int, row: Mapping[str, Any], served: Served) -> _Line | None:
    """A line of the log; None where it holds no request. Raises KeyError, TypeError, ValueError or OverflowError.

    A line without `windows`, as older versions wrote it, had as many as its tokens need. Of more inputs of the model
    than there may be, one too many is kept.
    """
    if not (row.get("inputs") and row.get("tokens") and "timings_ms" in row):
        return None
    at = datetime.fromisoformat(row["time"]).timestamp() - row["timings_ms"]["total"] / 1e3
    inputs, tokens = int(row["inputs"]), int(row["tokens"])
    if inputs < 1:
        raise ValueError
    windows = max(inputs, int(row["windows"]) if "windows" in row else -(-tokens // served.max_length))
    each, longer = divmod(tokens, windows)
    lengths = tuple(each + (n < longer) for n in range(min(windows, served.most + 1)))
    return _Line(place, str(row.get("model") or ""), inputs, _arrival(at, lengths, row.get("key")))


def _arrival(at: float, lengths: Lengths, client: object) -> Arrival:
    """Raises ValueError where there cannot be one."""
    if not math.isfinite(at) or not lengths or min(lengths) < 1:
        raise ValueError
    return Arrival(at, lengths, "" if client is None else str(client))


def _whole(given: object) -> Lengths:
    """The numbers of a list. Raises TypeError or ValueError for anything else than whole numbers."""
    if not isinstance(given, list) or any(isinstance(number, bool) for number in given):
        raise TypeError
    found = tuple(map(int, given))
    if any(number != length for number, length in zip(given, found, strict=True) if isinstance(number, float)):
        raise ValueError
    return found
