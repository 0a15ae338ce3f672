"""`python -P -m service.planning ARTIFACT …`: the command `pgb plan-capacity`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pgb_core import machine
from pgb_core.artifact import open_artifact
from pgb_core.errors import ConfigError, PGBError
from pgb_core.hub import located
from pgb_core.inference.errors import InferenceError
from pgb_core.inference.tokenizer import Tokenizer
from service.errors import ServiceError
from service.models.model import limits_of
from service.planning.arrivals import Burst, Drawn, Mix, Traffic
from service.planning.flags import (
    CLIENTS,
    NAME,
    OF_A_QUEUE,
    REFUSED,
    REQUESTS,
    check,
    parser,
    settings_of,
    sizes,
    weights,
)
from service.planning.fleet import Goal
from service.planning.measure import measure, sizes_here
from service.planning.process import Replica
from service.planning.profile import Profile
from service.planning.report import Row, as_json, table
from service.planning.search import Conditions, alone, fewest, forecast
from service.planning.texts import read_texts
from service.planning.trace import Served, Trace
from service.settings import Settings, SettingsError

_FEWEST = 100  # requests that a p99 is of: of fewer it is the slowest one


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, simulate and print. 1 where that cannot be done."""
    machine.wait_passively()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    args = parser().parse_args(argv)
    try:
        return _run(args)
    except (PGBError, InferenceError, ServiceError, SettingsError) as error:
        print(f"{NAME}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{NAME}: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{NAME}: stopped", file=sys.stderr)
        return 130
    return 1


def _run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    check(args)
    profile, traffic = _known(args, settings), None
    if args.p99 is not None or args.replicas is not None:  # what is wrong with the requests is told before the wait
        traffic = _traffic(args, _served(args, settings, profile))
    profile = profile or _measured(args, settings)
    if profile.busy:
        again = f"remove {args.profile}, and time" if args.profile is not None else "time"
        _told(f"the machine was too busy for reliable times: {profile.busy}; {again} the model again when it is idle")
    names = [f"{workers}x{threads}" for workers, threads in sizes(args.sizes)] or [s.name for s in profile.sizes]
    planned = [profile.size(name) for name in dict.fromkeys(names)]
    if traffic is None:
        print(f"{profile.model} in {profile.form} was timed; plan with --rate or --trace, and --p99 or --replicas")
        return 0
    given = Conditions(traffic, args.balance, args.requests or REQUESTS, args.seed)
    goal = None if args.p99 is None else Goal(args.p99 / 1e3, REFUSED if args.refused is None else args.refused)
    rows = []
    for size in planned:
        replica = Replica(size, profile.overhead, limits_of(settings), settings.max_request_seconds, profile.max_length)
        _told(f"simulating {size.name}")
        if goal is None:
            rows.append(Row(size, forecast(replica, args.replicas, given)))
        else:
            found = fewest(replica, given, goal)
            rows.append(Row(size, found, alone(replica, given) if found is None else None))
        _tell(rows[-1])
    shared = {"balance": args.balance, "seed": args.seed, **{name: getattr(settings, name) for name in OF_A_QUEUE}}
    figures = as_json(profile, traffic, goal, shared, rows)
    print(json.dumps(figures, allow_nan=False) if args.json else table(figures))
    return 0 if any(row.found is not None for row in rows) else 1


def _tell(row: Row) -> None:
    """Say where too few requests stand behind a p99, or where the figures are of a queue that goes on growing."""
    if row.found is None:
        return
    name, found = row.size.name, row.found
    if found.outcome.requests < _FEWEST:
        _told(f"{name}: of {found.outcome.requests} requests a p99 says little; give a longer trace")
    if not found.outcome.keeps_up(found.outcome.refused_share):
        _told(
            f"{name}: more requests come than {found.replicas:,} can answer; latency and refusals grow for as long as "
            "they come, so the figures say little"
        )


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
        if settings.runtime not in ("auto", profile.runtime):
            raise ConfigError(
                f"{args.profile}: was timed in {profile.runtime}; name another file to time {settings.runtime}"
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
    profile = measure(located(args.artifact), settings, sizes(args.sizes) or sizes_here(), _told)
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
    return Drawn(Mix(kinds, inputs, args.clients or CLIENTS), args.rate, burst)


def _told(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
