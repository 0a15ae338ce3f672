"""The flags of `pgb plan-capacity`, and what they say."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pgb_core.errors import ConfigError
from pgb_core.flags import Parser
from service.planning.fleet import BALANCES, LEAST_CONNECTIONS
from service.planning.search import MOST_REPLICAS
from service.settings import Settings, read_settings

Number = TypeVar("Number", int, float)
NAME = "pgb plan-capacity"
CLIENTS, REQUESTS, REFUSED = 32, 50_000, 0.001  # without the flags of these names
# Of the service: those that decide how fast a model runs, and which requests wait.
_OF_A_MODEL = ("form", "runtime", "max_form_drop")
OF_A_QUEUE = (
    *("max_batch_tokens", "max_queue_tokens", "max_queue_seconds"),
    *("max_overtake_seconds", "max_request_seconds", "max_items"),
)
_SETTINGS = (*_OF_A_MODEL, *OF_A_QUEUE)
_SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_LEAST_REQUESTS, _MOST_REQUESTS = 1_000, 10_000_000  # for each number of replicas that is tried
_DRAWN = ("burst", "lengths", "texts", "inputs", "clients", "requests")  # flags that need --rate
_LEAST_RATE, _MOST_RATE = 1e-6, 1e8
_EXAMPLES = """examples:
  pgb plan-capacity ./small --profile small.json                       # time it on this machine
  pgb plan-capacity --profile small.json --rate 2000 --lengths 16:0.7,64:0.3 --p99 50
  pgb plan-capacity ./small --profile small.json --rate 500 --burst 4:2:30 --texts dev.jsonl --p99 50
  pgb plan-capacity --profile small.json --trace log.jsonl --replicas 4

The simulation uses the service's own queue, which decides what is admitted and which inputs share a batch. The clock
and the model are simulated. docs/capacity.md says what is assumed, and what a trace holds.
"""


def parser() -> Parser:
    """The parser of the command line."""
    made = Parser(
        prog=NAME,
        description="Find how many replicas, and of which size, keep p99 latency within a bound, by simulation.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "artifact",
        nargs="?",
        metavar="ARTIFACT",
        help="model to plan for; not needed if the file of --profile exists, except for --texts",
    )
    made.add_argument(
        "--profile",
        type=_path,
        metavar="FILE",
        help="JSON file with the times of the model; read if it exists, or else measured here and written",
    )
    made.add_argument(
        "--sizes",
        metavar="WxT,WxT",
        help="sizes of a replica: processes x threads of the model in each, such as 1x4,4x1 (default: those of the "
        "profile; to measure one, 1x1, one process with all cores, and one process for each core)",
    )
    _add_requests(made)
    _add_wanted(made)
    _add_settings(made)
    return made


def _add_requests(made: Parser) -> None:
    """What asks the service."""
    asked = made.add_argument_group("requests")
    given = asked.add_mutually_exclusive_group()
    given.add_argument("--rate", type=_rate, metavar="R", help="requests a second, at random instants (Poisson)")
    given.add_argument(
        "--trace",
        type=_path,
        metavar="FILE",
        help="recorded requests: JSON lines, CSV (.csv), or the log of the service",
    )
    asked.add_argument(
        "--burst",
        metavar="F:S:E",
        help="with --rate: F times the rate in the last S of every E seconds, such as 4:2:30",
    )
    lengths = asked.add_mutually_exclusive_group()
    lengths.add_argument(
        "--lengths", metavar="N:W,N:W", help="with --rate: tokens of an input, with weights, such as 16:0.7,64:0.3"
    )
    lengths.add_argument(
        "--texts",
        type=_path,
        metavar="FILE",
        help="with --rate: file of texts, .txt or JSON lines, whose lengths the inputs have; needs ARTIFACT",
    )
    asked.add_argument(
        "--inputs",
        metavar="N:W,N:W",
        help="with --rate: inputs (texts, pairs or questions) of a request, with weights (default 1)",
    )
    asked.add_argument(
        "--clients",
        type=_count,
        metavar="N",
        help=f"with --rate: number of clients, which the service serves in turns (default {CLIENTS})",
    )


def _add_wanted(made: Parser) -> None:
    """What the fleet is to hold, and how that is found."""
    wanted = made.add_argument_group("what is wanted")
    either = wanted.add_mutually_exclusive_group()
    either.add_argument(
        "--p99",
        type=_positive,
        metavar="MS",
        help="find the fewest replicas whose p99 is at most this, in milliseconds",
    )
    either.add_argument(
        "--replicas", type=_fleet, metavar="N", help="in place of --p99: show latency and refusals of N replicas"
    )
    wanted.add_argument(
        "--refused",
        type=_share,
        metavar="SHARE",
        help=f"with --p99: largest share of the requests that may be refused (default {REFUSED})",
    )
    wanted.add_argument(
        "--balance",
        choices=BALANCES,
        default=LEAST_CONNECTIONS,
        help=f"how the balancer picks the process for a request (default {LEAST_CONNECTIONS})",
    )
    wanted.add_argument(
        "--requests",
        type=_many,
        metavar="N",
        help=f"with --rate: requests to simulate for each number of replicas (default {REQUESTS})",
    )
    wanted.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn at random (default 0)")
    wanted.add_argument("--json", action="store_true", help="print one JSON object in place of the table")


def _add_settings(made: Parser) -> None:
    """Settings of the service that the simulation heeds."""
    service = made.add_argument_group("settings of the service")
    service.add_argument("--config", help="TOML file of settings of the service")
    for name in _SETTINGS:
        field = Settings.model_fields[name]
        said = str(field.description).replace("%", "%%")
        service.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=f"{said} [{field.default}]")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings of the service that is planned for. Raises SettingsError."""
    given = {name: getattr(args, name) for name in ("config", *_SETTINGS)}
    return read_settings([f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None])


def check(args: argparse.Namespace) -> None:
    """Raises ConfigError where flags do not go together."""
    other = next((name for name in _DRAWN if getattr(args, name) is not None), None)
    if other is not None and args.rate is None:
        remedy = "give --rate R too, or leave it out" if args.trace is None else "a trace has its own"
        raise ConfigError(f"--{other} is for requests that are drawn; {remedy}")
    if args.p99 is None and args.replicas is None and (args.rate is not None or args.trace is not None or args.json):
        raise ConfigError("say what is wanted: --p99 MS, or --replicas N")
    if args.refused is not None and args.p99 is None:
        raise ConfigError("--refused belongs to a goal; give --p99 MS too, or leave it out")


def sizes(text: str | None) -> list[tuple[int, int]]:
    """Workers and threads of each size in a list such as 1x4,4x1. Raises ConfigError."""
    parts = text.split(",") if text else []
    found = [match for part in parts if (match := _SIZE.fullmatch(part))]
    if len(found) < len(parts):
        raise ConfigError(f"--sizes {text}: write them as workers x threads, such as 1x1,1x2")
    return [(int(match[1]), int(match[2])) for match in found]


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


def _number(kind: Callable[[str], Number], text: str, fits: Callable[[Number], bool], said: str) -> Number:
    """Raises ArgumentTypeError when the text is none, or one that does not fit."""
    with suppress(ValueError):
        value = kind(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"must be {said}")


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))  # the shell does not where it stands behind --flag=


def _positive(text: str) -> float:
    return _number(float, text, lambda value: 0 < value < math.inf, "a number above 0")


def _rate(text: str) -> float:
    said = f"a number from {_LEAST_RATE:f} to {_MOST_RATE:,.0f}"
    return _number(float, text, lambda value: _LEAST_RATE <= value <= _MOST_RATE, said)


def _share(text: str) -> float:
    return _number(float, text, lambda value: 0 <= value < 1, "a share from 0 to below 1")


def _count(text: str) -> int:
    return _number(int, text, lambda value: value >= 1, "a whole number from 1")


def _fleet(text: str) -> int:
    return _number(int, text, lambda value: 1 <= value <= MOST_REPLICAS, f"a whole number from 1 to {MOST_REPLICAS:,}")


def _many(text: str) -> int:
    said = f"a whole number from {_LEAST_REQUESTS:,}, for a p99 that means something, to {_MOST_REQUESTS:,}"
    return _number(int, text, lambda value: _LEAST_REQUESTS <= value <= _MOST_REQUESTS, said)
