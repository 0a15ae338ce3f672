"""`python -P -m service.planning ARTIFACT …`: the command `pgb plan-capacity`."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pgb_core import machine
from pgb_core.artifact import open_artifact
from pgb_core.errors import ConfigError, PGBError
from pgb_core.hub import located
from pgb_core.inference.errors import InferenceError
from pgb_core.inference.tokenizer import Tokenizer
from service.errors import ServiceError
from service.models.model import limits_of
from service.planning.arrivals import Burst, Drawn, Mix, Served, Trace, Traffic, read_texts, weights
from service.planning.fleet import BALANCES, LEAST_CONNECTIONS, Goal, Replica
from service.planning.measure import measure, sizes_here
from service.planning.profile import Profile
from service.planning.report import Row, as_json, table
from service.planning.search import MOST_REPLICAS, Conditions, alone, fewest, forecast
from service.settings import Settings, SettingsError, read_settings

Number = TypeVar("Number", int, float)
_NAME = "pgb plan-capacity"
_SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")
_LEAST_REQUESTS, _REQUESTS = 1_000, 50_000
_FEWEST = 100  # requests that a p99 is of: of fewer it is the slowest one
_DRAWN = ("burst", "lengths", "texts", "inputs", "clients", "requests")  # flags that need --rate
_LEAST_RATE, _MOST_RATE = 1e-6, 1e8
_REFUSED = 0.001
# Of the service: those that decide how fast a model runs, and which requests wait.
_SETTINGS = (
    *("form", "runtime", "max_form_drop", "max_batch_tokens", "max_queue_tokens", "max_queue_seconds"),
    *("max_overtake_seconds", "max_request_seconds", "max_items"),
)
_EXAMPLES = """examples:
  pgb plan-capacity ./small --profile small.json                       # time it on this machine
  pgb plan-capacity --profile small.json --rate 2000 --lengths 16:0.7,64:0.3 --p99 50
  pgb plan-capacity ./small --profile small.json --rate 500 --burst 4:2:30 --texts dev.jsonl --p99 50
  pgb plan-capacity --profile small.json --trace log.jsonl --replicas 4

The simulation uses the service's own queue, which decides what is admitted and which inputs share a batch. The clock
and the model are simulated. docs/capacity.md says what is assumed, and what a trace holds.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate and print. 1 where that cannot be done."""
    machine.wait_passively()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except (PGBError, InferenceError, ServiceError, SettingsError) as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{_NAME}: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{_NAME}: stopped", file=sys.stderr)
        return 130
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Find how many replicas, and of which size, keep p99 latency within a bound, by simulation.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "artifact",
        nargs="?",
        metavar="ARTIFACT",
        help="model to plan for; not needed if the file of --profile exists, except for --texts",
    )
    add(
        "--profile",
        type=Path,
        metavar="FILE",
        help="JSON file with the times of the model; read if it exists, or else measured here and written",
    )
    add(
        "--sizes",
        metavar="WxT,WxT",
        help="sizes of a replica: processes x threads of the model in each, such as 1x4,4x1 (default: those of the "
        "profile; to measure one, 1x1, one process with all cores, and one process for each core)",
    )
    asked = parser.add_argument_group("requests")
    given = asked.add_mutually_exclusive_group()
    given.add_argument("--rate", type=_rate, metavar="R", help="requests a second, at random instants (Poisson)")
    given.add_argument(
        "--trace",
        type=Path,
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
        type=Path,
        metavar="FILE",
        help="with --rate: the lengths of these texts, .txt or JSON lines; needs ARTIFACT",
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
        help="with --rate: number of clients, which the service serves in turns (default 32)",
    )
    wanted = parser.add_argument_group("what is wanted")
    either = wanted.add_mutually_exclusive_group()
    either.add_argument(
        "--p99",
        type=_positive,
        metavar="MS",
        help="find the fewest replicas whose p99 is at most this, in milliseconds",
    )
    either.add_argument(
        "--replicas", type=_fleet, metavar="N", help="instead: what latency and refusals this number of replicas has"
    )
    wanted.add_argument(
        "--refused",
        type=_share,
        metavar="SHARE",
        help=f"with --p99: largest share of the requests that may be refused (default {_REFUSED})",
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
        help=f"with --rate: requests to simulate for each number of replicas (default {_REQUESTS})",
    )
    wanted.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn at random (default 0)")
    wanted.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    service = parser.add_argument_group("settings of the service")
    service.add_argument("--config", help="TOML file of settings of the service")
    for name in _SETTINGS:
        field = Settings.model_fields[name]
        said = str(field.description).replace("%", "%%")
        service.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=f"{said} [{field.default}]")
    return parser


def _run(args: argparse.Namespace) -> int:
    settings = _settings(args)
    _check(args)
    profile, traffic = _known(args, settings), None
    if args.p99 is not None or args.replicas is not None:  # what is wrong with the requests is told before the wait
        traffic = _traffic(args, _served(args, settings, profile))
    profile = profile or _measured(args, settings)
    if profile.busy:
        _told(f"the machine was too busy for reliable times: {profile.busy}; time the model again when it is idle")
    names = [f"{workers}x{threads}" for workers, threads in _sizes(args.sizes)] or [s.name for s in profile.sizes]
    sizes = [profile.size(name) for name in dict.fromkeys(names)]
    if traffic is None:
        print(f"{profile.model} in {profile.form} was timed; plan with --rate or --trace, and --p99 or --replicas")
        return 0
    given = Conditions(traffic, args.balance, args.requests or _REQUESTS, args.seed)
    goal = None if args.p99 is None else Goal(args.p99 / 1e3, _REFUSED if args.refused is None else args.refused)
    rows = []
    for size in sizes:
        replica = Replica(size, profile.overhead, limits_of(settings), settings.max_request_seconds, profile.max_length)
        _told(f"simulating {size.name}")
        if goal is None:
            rows.append(Row(size, forecast(replica, args.replicas, given)))
        else:
            found = fewest(replica, given, goal)
            rows.append(Row(size, found, alone(replica, given) if found is None else None))
        _tell_few(rows[-1])
    shared = {"balance": args.balance, "seed": args.seed, **{name: getattr(settings, name) for name in _SETTINGS[3:]}}
    figures = as_json(profile, traffic, goal, shared, rows)
    print(json.dumps(figures, allow_nan=False) if args.json else table(figures))
    return 0 if any(row.found is not None for row in rows) else 1


def _tell_few(row: Row) -> None:
    """Say where too few requests stand behind a p99."""
    if row.found is not None and row.found.outcome.requests < _FEWEST:
        _told(f"{row.size.name}: of {row.found.outcome.requests} requests a p99 says little; give a longer trace")


def _settings(args: argparse.Namespace) -> Settings:
    flags = [
        f"--{name.replace('_', '-')}={getattr(args, name)}" for name in ("config", *_SETTINGS) if getattr(args, name)
    ]
    return read_settings(flags)


def _check(args: argparse.Namespace) -> None:
    """Raises ConfigError where flags do not go together."""
    other = next((name for name in _DRAWN if getattr(args, name) is not None), None)
    if other is not None and args.rate is None:
        remedy = "give --rate R too, or leave it out" if args.trace is None else "a trace has its own"
        raise ConfigError(f"--{other} is for requests that are drawn; {remedy}")
    if args.p99 is None and args.replicas is None and (args.rate is not None or args.trace is not None or args.json):
        raise ConfigError("say what is wanted: --p99 MS, or --replicas N")
    if args.refused is not None and args.p99 is None:
        raise ConfigError("--refused belongs to a goal; give --p99 MS too, or leave it out")


def _known(args: argparse.Namespace, settings: Settings) -> Profile | None:
    """The profile that is there; None where one is to be measured."""
    if args.profile is not None and args.profile.exists():
        profile = Profile.read(args.profile)
        if args.artifact is not None and open_artifact(located(args.artifact)).digest != profile.digest:
            raise ConfigError(
                f"{args.profile}: is of another artifact; name another file for --profile to time this one"
            )
        if settings.form not in ("auto", profile.form):
            raise ConfigError(
                f"{args.profile}: is of the form {profile.form}; name another file to time {settings.form}"
            )
        if settings.max_batch_tokens > profile.batch_tokens:
            raise ConfigError(
                f"{args.profile}: has batches of up to {profile.batch_tokens} tokens, and max_batch_tokens is "
                f"{settings.max_batch_tokens}; give a smaller --max-batch-tokens, or another file to time larger ones"
            )
        _told(f"{args.profile}: times of {profile.model} in {profile.form}, read")
        return profile
    if args.artifact is None:
        where = "" if args.profile is None else f"{args.profile}: there is no such file; "
        raise ConfigError(f"{where}name an ARTIFACT to time, or with --profile the file of one that was timed")
    if args.profile is not None and not os.access(args.profile.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{args.profile}: no file can be written there; name a place for --profile that is there")
    return None


def _measured(args: argparse.Namespace, settings: Settings) -> Profile:
    """A profile that is measured now, and kept where one is named."""
    profile = measure(located(args.artifact), settings, _sizes(args.sizes) or sizes_here(), _told)
    if args.profile is not None:
        _keep(profile, args.profile)
    return profile


def _keep(profile: Profile, path: Path) -> None:
    """Write a profile, whole or not at all. Where that fails, say so: the times are there, and took long."""
    beside = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        beside.write_text(profile.model_dump_json(indent=1) + "\n", "utf-8")
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        _told(f"{path}: the times could not be kept: {error.strerror}; name another file for --profile the next time")
    else:
        _told(f"{path}: written")


def _served(args: argparse.Namespace, settings: Settings, profile: Profile | None) -> Served:
    """The model that is planned for, from its profile where there is one."""
    limits = (settings.max_items, settings.max_windows)
    if profile is not None:
        return Served(profile.model, profile.task, profile.max_length, *limits)
    manifest = open_artifact(located(args.artifact)).manifest
    return Served(manifest.name, manifest.task, manifest.max_length, *limits)


def _trace(args: argparse.Namespace, served: Served) -> Trace:
    """The requests of a file, and what is left out of it. Raises ConfigError where a p99 of them would mean nothing."""
    trace = Trace.read(args.trace, served)
    if trace.skipped:
        _told(f"{args.trace}: {trace.skipped} lines left out, which name no inputs")
    if trace.others:
        _told(f"{args.trace}: {trace.others} lines left out, which are of other models than {served.model}")
    if args.p99 is not None and len(trace.arrivals) < _FEWEST:
        raise ConfigError(
            f"{args.trace}: has {len(trace.arrivals)} requests, and a p99 needs {_FEWEST} or more; "
            "give a longer trace, or --replicas N"
        )
    return trace


def _traffic(args: argparse.Namespace, served: Served) -> Traffic:
    """The requests that are asked for."""
    if args.trace is not None:
        return _trace(args, served)
    if args.rate is None:
        raise ConfigError("say which requests come: --rate R, or --trace FILE")
    inputs = weights("--inputs", args.inputs or "1")
    if max(inputs) > served.max_items:
        raise ConfigError(f"--inputs {max(inputs)}: the service takes {served.max_items} in one request, max_items")
    if args.texts is not None:
        if args.artifact is None:
            raise ConfigError("--texts needs ARTIFACT, whose tokenizer reads them")
        artifact = open_artifact(located(args.artifact))
        kinds = read_texts(args.texts, served.task, Tokenizer.open(artifact.tokenizer, served.max_length))
    elif args.lengths is not None:
        kinds = {(length,): weight for length, weight in weights("--lengths", args.lengths).items()}
    else:
        raise ConfigError("say how long inputs are: --lengths 16:0.7,64:0.3, or --texts FILE")
    longest = max(max(kind) for kind in kinds)
    if longest > served.max_length:
        raise ConfigError(f"--lengths {longest}: the model takes {served.max_length} tokens at most")
    burst = None if args.burst is None else Burst.read(args.burst)
    return Drawn(Mix(kinds, inputs, args.clients or 32), args.rate, burst)


def _sizes(text: str | None) -> list[tuple[int, int]]:
    """Workers and threads of each. Raises ConfigError."""
    parts = text.split(",") if text else []
    found = [match for part in parts if (match := _SIZE.fullmatch(part))]
    if len(found) < len(parts):
        raise ConfigError(f"--sizes {text}: write them as workers x threads, such as 1x1,1x2")
    return [(int(match[1]), int(match[2])) for match in found]


def _number(kind: Callable[[str], Number], text: str, fits: Callable[[Number], bool], said: str) -> Number:
    """Raises ArgumentTypeError when the text is none, or one that does not fit."""
    with suppress(ValueError):
        value = kind(text)
        if fits(value):
            return value
    raise argparse.ArgumentTypeError(f"is {said}")


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
    said = f"a whole number from {_LEAST_REQUESTS:,}, for a p99 that means something"
    return _number(int, text, lambda value: value >= _LEAST_REQUESTS, said)


def _told(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
