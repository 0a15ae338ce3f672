"""Which requests come when: from a file, or drawn at random.

A file is JSON lines or CSV. A request has `at` (seconds, from any instant) and `lengths` (tokens of each of its inputs:
a list in JSON, numbers between spaces in CSV). `client` says who asks, for fair turns; without it all ask as one. Lines
of the service's own log are read too: `time`, `model`, `inputs`, `windows`, `tokens`, `key` and `timings_ms` say the
same. Lines of another model are left out.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, Protocol

from pgb_core.errors import ConfigError, DataError
from pgb_core.inference.batches import prepare_question, prepare_texts
from pgb_core.inference.errors import InferenceError
from pgb_core.inference.tasks.qa import QA, Question, Windowing
from pgb_core.inference.tokenizer import Tokenizer

Lengths = tuple[int, ...]
_WARM = 0.1  # of a drawn load, that is not counted: it begins with no queue
_SAMPLE = 2_000  # requests
_BURSTS = 3  # that a drawn load has at least
_MOST_TIMES = 20  # as many requests as were asked for, where bursts need more
_LONGEST = 1e9  # seconds of a trace: of more, instants cannot be told apart
_MOST_FACTOR = 1_000  # of a burst
_NAMED = 4  # models in a message
_MOST_TEXTS = 10_000  # of a data file; more of them change no figure


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request. at: seconds. lengths: tokens of each input. client: who asks."""

    at: float
    lengths: Lengths
    client: str | int = ""


@dataclass(frozen=True)
class Load:
    """Arrivals in order. counted: the instant from which requests are counted. expected: about how many are counted."""

    arrivals: Iterator[Arrival]
    counted: float
    expected: float


class Traffic(Protocol):
    """All requests to all replicas."""

    @property
    def rate(self) -> float:
        """Requests a second, on average."""

    def lengths(self) -> Sequence[Lengths]:
        """A sample of the requests."""

    def load(self, share: float, requests: int, seed: int) -> Load:
        """A share of the traffic, about `requests` of it where it has no end of its own."""


@dataclass(frozen=True)
class Mix:
    """What requests look like. kinds: lengths of inputs with their weights; a kind has several inputs where they belong
    together. inputs: how many kinds a request has, with weights. clients: how many there are."""

    kinds: Mapping[Lengths, float]
    inputs: Mapping[int, float]
    clients: int

    def drawn(self, draw: random.Random) -> Iterator[tuple[Lengths, int]]:
        """Lengths and client of one request after the other."""
        kinds, counts = list(self.kinds), list(self.inputs)
        of_kinds, of_counts = list(accumulate(self.kinds.values())), list(accumulate(self.inputs.values()))
        while True:
            (count,) = draw.choices(counts, cum_weights=of_counts)
            groups = draw.choices(kinds, cum_weights=of_kinds, k=count)
            yield groups[0] if count == 1 else tuple(chain.from_iterable(groups)), int(draw.random() * self.clients)


@dataclass(frozen=True)
class Burst:
    """At the end of each `every` seconds, for `seconds`, the rate is `factor` times the usual one."""

    factor: float
    seconds: float
    every: float

    @classmethod
    def read(cls, text: str) -> Burst:
        """FACTOR:SECONDS:EVERY. Raises ConfigError."""
        try:
            found = cls(*(float(part) for part in text.split(":")))
        except (TypeError, ValueError):
            found = cls(0, 0, 0)
        if not (1 < found.factor <= _MOST_FACTOR and 0 < found.seconds < found.every < math.inf and found.every >= 1):
            raise ConfigError(
                f"--burst {text}: write FACTOR:SECONDS:EVERY, FACTOR above 1 and at most {_MOST_FACTOR:,}, SECONDS "
                "below EVERY, and EVERY from 1, such as 4:2:30"
            )
        return found


@dataclass(frozen=True)
class Drawn:
    """Requests at random instants (a Poisson process) of `usual` a second, and more in bursts."""

    mix: Mix
    usual: float
    burst: Burst | None = None

    @property
    def rate(self) -> float:
        """Requests a second, on average."""
        more = 0.0 if self.burst is None else (self.burst.factor - 1) * self.burst.seconds / self.burst.every
        return self.usual * (1 + more)

    def lengths(self) -> Sequence[Lengths]:
        """A sample of the requests."""
        return [lengths for lengths, _ in islice(self.mix.drawn(random.Random(0)), _SAMPLE)]  # noqa: S311 - no secret

    def load(self, share: float, requests: int, seed: int) -> Load:
        """As many seconds as `requests` take to come, and at least three bursts. Raises ConfigError when these are more
        than twenty times as many requests."""
        seconds = requests / (self.rate * share)
        if self.burst is not None:
            least = _BURSTS * self.burst.every
            if least > _MOST_TIMES * seconds:
                raise ConfigError(
                    f"--burst: {_BURSTS} periods have {least * self.rate * share:,.0f} requests to simulate; give "
                    f"--requests {math.ceil(least * self.rate * share / _MOST_TIMES)} or more, or a shorter period"
                )
            seconds = max(seconds, least)
        arrivals = self._until(seconds, share, random.Random(seed))  # noqa: S311 - no secret
        return Load(arrivals, _WARM * seconds, (1 - _WARM) * seconds * self.rate * share)

    def _until(self, seconds: float, share: float, draw: random.Random) -> Iterator[Arrival]:
        at, requests = 0.0, self.mix.drawn(draw)
        while True:
            left = draw.expovariate(1.0)
            while True:
                rate, end = self._rate(at)
                taken = left / (rate * share)
                if at + taken <= end:
                    break
                left -= (end - at) * rate * share
                at = end
            at += taken
            if at >= seconds:
                return
            yield Arrival(at, *next(requests))

    def _rate(self, at: float) -> tuple[float, float]:
        """The rate at an instant, and the instant until which it stays so."""
        if self.burst is None:
            return self.usual, math.inf
        turn = math.floor(at / self.burst.every)
        rises, ends = (turn + 1) * self.burst.every - self.burst.seconds, (turn + 1) * self.burst.every
        if at < rises:
            return self.usual, rises
        return self.usual * self.burst.factor, max(ends, math.nextafter(at, math.inf))


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
        return [arrival.lengths for arrival in self.arrivals[:: math.ceil(len(self.arrivals) / _SAMPLE)]]

    def load(self, share: float, requests: int, seed: int) -> Load:
        """All of them, or each with a chance of `share`."""
        draw = random.Random(seed)  # noqa: S311 - no secret
        kept = iter(self.arrivals) if share >= 1 else (a for a in self.arrivals if draw.random() < share)
        return Load(kept, -math.inf, min(1.0, share) * len(self.arrivals))

    @classmethod
    def read(cls, path: Path, served: Served) -> Trace:
        """The requests for a model. Raises DataError where a line is no request, or is one that the service would not
        take, or where a log is of several other models."""
        lines = [_line(path, place, row, served) for place, row in _rows(path)]
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


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file with their lines. Raises DataError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file)
                for record in reader:
                    yield reader.line_num, {**record, "lengths": (record.get("lengths") or "").split()}
                return
            for place, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"{path}:{place}: a line holds one JSON object")
                    yield place, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, csv.Error):  # ValueError: no UTF-8, no JSON, or a number of too many digits
        raise DataError(f"{path}: is neither JSON lines nor CSV (.csv) in UTF-8") from None


def _line(path: Path, place: int, row: Mapping[str, Any], served: Served) -> _Line | None:
    """A request of a trace, or of a line of the log; None for a line of the log that holds none. Raises DataError."""
    try:
        if "lengths" not in row and "time" in row:
            return _logged(place, row, served)
        lengths = _whole(row["lengths"])
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
    return Arrival(at, lengths, str(client or ""))


def _whole(given: object) -> Lengths:
    """The numbers of a list. Raises TypeError or ValueError for anything else than whole numbers."""
    if not isinstance(given, list):
        raise TypeError
    found = tuple(map(int, given))
    if any(number != length for number, length in zip(given, found, strict=True) if isinstance(number, float)):
        raise ValueError
    return found


def weights(flag: str, text: str) -> dict[int, float]:
    """VALUE:WEIGHT,VALUE:WEIGHT with whole values from 1; a value alone has weight 1, and one that comes twice has both
    weights. Raises ConfigError."""
    found: dict[int, float] = {}
    try:
        for part in text.split(","):
            value, _, weight = part.partition(":")
            found[int(value)] = found.get(int(value), 0.0) + (float(weight) if weight else 1.0)
    except ValueError:
        found = {}
    if not found or min(found) < 1 or not (min(found.values()) > 0 and sum(found.values()) < math.inf):
        raise ConfigError(f"{flag} {text}: write whole numbers from 1 with their weights, such as 16:0.7,64:0.3")
    return found


def read_texts(path: Path, task: str, tokenizer: Tokenizer) -> dict[Lengths, float]:
    """How long the inputs of a data file are, and how often.

    The file has lines of text (.txt), or JSON lines with `text`, and `pair` where there are two, or with `question` and
    `context`, whose windows belong together. At most 10,000 rows are read. Raises DataError.
    """
    rows = list(islice(_lines(path) if path.suffix == ".txt" else _rows(path), _MOST_TEXTS))
    try:
        if task == QA.name:
            asked = [Question(_string(row["question"]), _string(row["context"])) for _, row in rows]
            kinds = [tuple(len(w.tokens) for w in prepare_question(tokenizer, q, Windowing())) for q in asked]
        else:
            pairs = [(_string(row["text"]), row.get("pair")) for _, row in rows]
            texts = [text if pair is None else (text, _string(pair)) for text, pair in pairs]
            kinds = [(len(tokens),) for tokens in prepare_texts(tokenizer, texts)]
    except (KeyError, TypeError, InferenceError):
        needed = "`question` and `context`" if task == QA.name else "`text`"
        raise DataError(f"{path}: each row needs {needed}; docs/capacity.md says what is read") from None
    if not kinds:
        raise DataError(f"{path}: there is no text in it")
    return {kind: float(count) for kind, count in Counter(kinds).items()}


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for place, line in enumerate(file, 1):
                if line.strip():
                    yield place, {"text": line.strip()}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8") from None
