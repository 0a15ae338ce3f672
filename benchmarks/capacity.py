"""Holds the forecasts of `pgb plan-capacity` against a real server on this machine.

For each size of replica: the capacity, and p50 and p99 at 50 and 80% of it, forecast and measured for the very same
requests. A size that takes all cores shares the last one with the generator.

    python -m benchmarks.capacity ARTIFACT
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.open_load import Sent, by_length, requests, send
from benchmarks.service.harness import CORES, GENERATOR, pinned, server
from pgb_core.artifact import open_artifact
from pgb_core.inference.tokenizer import Tokenizer
from service.models.model import limits_of
from service.planning.arrivals import Arrival, Drawn, Lengths, Load, Mix
from service.planning.fleet import ROUND_ROBIN, Outcome, simulate
from service.planning.measure import measure
from service.planning.process import Replica
from service.planning.profile import Profile, Size
from service.settings import Settings, read_settings

SHARES = (0.5, 0.8)
_CLIENTS = 32
_OVER = 1.6  # times the forecast capacity, to measure the capacity
_SKIP = 2.0  # seconds at the start that do not count
_SEED = 7


@dataclass(frozen=True)
class Subject:
    """What is served, and how its texts are long."""

    artifact: Path
    profile: Profile
    settings: Settings
    texts: dict[int, list[str]]
    inputs: int

    @property
    def mix(self) -> Mix:
        """Each text is as likely as any other."""
        kinds: dict[Lengths, float] = {(length,): float(len(texts)) for length, texts in self.texts.items()}
        return Mix(kinds, {self.inputs: 1.0}, _CLIENTS)

    def replica(self, size: Size) -> Replica:
        """With the settings of the service."""
        limits = limits_of(self.settings)
        return Replica(size, self.profile.overhead, limits, self.settings.max_request_seconds, self.profile.max_length)

    def arrivals(self, rate: float, seconds: float) -> list[Arrival]:
        """Requests at random instants for so long."""
        return list(Drawn(self.mix, rate).load(1.0, math.ceil(rate * seconds), _SEED).arrivals)


@contextmanager
def replica_of(subject: Subject, size: Size) -> Iterator[list[str]]:
    """The addresses of a server for each worker, each on its own cores."""
    with ExitStack() as stack:
        found = []
        for worker in range(size.workers):
            cores = set(CORES[worker * size.threads : (worker + 1) * size.threads])
            flags = ("--form", subject.profile.form, "--threads", str(size.threads))
            found.append(stack.enter_context(server(str(subject.artifact), *flags, cores=cores)).url)
        yield found


def capacity(outcome: Outcome, skipped: float) -> float:
    """Answers a second, of requests that came faster than that. skipped: seconds at the start that do not count."""
    return len(outcome.latencies) / (outcome.seconds - skipped)


def offered(subject: Subject, size: Size, urls: Sequence[str], rate: float, seconds: float) -> tuple[Outcome, Sent]:
    """Forecast and measurement of the same requests."""
    arrivals = subject.arrivals(rate, seconds)
    load = Load(iter(arrivals), _SKIP, len(arrivals))
    forecast = simulate(subject.replica(size), 1, ROUND_ROBIN, load, _SEED)
    bodies = requests(arrivals, subject.texts)
    with pinned(GENERATOR):
        sent = send(urls, arrivals, bodies, _SKIP)
    return forecast, sent


def compared(subject: Subject, size: Size, seconds: float, most: float) -> dict[str, Any]:
    """Capacity and latencies of a size. most: requests a second that the generator may send."""
    forecast = forecast_capacity(subject, size)
    found: dict[str, Any] = {"forecast_capacity": round(forecast, 1), "rates": {}}
    with replica_of(subject, size) as urls:
        offered(subject, size, urls, min(most, 0.3 * forecast), 4.0)  # it warms up
        over = min(most, _OVER * forecast)
        _, sent = offered(subject, size, urls, over, seconds)
        reached = sent.goodput
        found |= {"measured_capacity": round(reached, 1), "at_capacity": {"offered": round(over, 1), **sent.summary()}}
        print(f"  capacity: forecast {forecast:.0f}, measured {reached:.0f} requests a second", flush=True)
        for share in SHARES:
            simulated, sent = offered(subject, size, urls, share * reached, seconds)
            told = {f"p{round(100 * q)}_ms": round(1e3 * simulated.percentile(q), 3) for q in (0.5, 0.95, 0.99)}
            measured = sent.summary()
            found["rates"][f"{share:.0%}"] = {
                "offered": round(share * reached, 1),
                "forecast": {**told, "refused": simulated.refused, "model_busy": round(simulated.model, 3)},
                "measured": measured,
            }
            both = ", ".join(
                f"{q} {told[q + '_ms']:.1f} ms forecast and {measured[q + '_ms']:.1f} measured" for q in ("p50", "p99")
            )
            print(f"  {share:.0%} of it: {both}", flush=True)
    return found


def forecast_capacity(subject: Subject, size: Size) -> float:
    """Answers a second at three times what the models alone could do."""
    replica = subject.replica(size)
    lengths = [length for request in Drawn(subject.mix, 1.0).lengths() for length in request]
    least = (
        subject.inputs * sum(replica.size.times.least(n, replica.limits.batch_tokens) for n in lengths) / len(lengths)
    )
    rate = 3 * size.workers / least
    arrivals = subject.arrivals(rate, max(10.0, 4 * subject.settings.max_queue_seconds))
    waited = subject.settings.max_queue_seconds  # until then the queue fills
    outcome = simulate(replica, 1, ROUND_ROBIN, Load(iter(arrivals), waited, 0), _SEED)
    return capacity(outcome, waited)


def subject_of(
    artifact: Path, sizes: Sequence[tuple[int, int]], inputs: int, profile: Profile | None = None
) -> Subject:
    """An artifact with its profile, which is measured for these sizes where there is none."""
    settings = read_settings([])
    profile = profile or measure(artifact, settings, sizes, lambda said: print(said, flush=True))
    opened = open_artifact(artifact)
    texts = script.texts()
    tokenizer = Tokenizer.open(opened.tokenizer, opened.manifest.max_length)
    return Subject(artifact, profile, settings, by_length(texts, tokenizer), inputs)


def arguments(description: str | None, name: str, seconds: float, inputs: int) -> argparse.Namespace:
    """Of a script that loads an artifact's service. name: of its file of results; seconds: of each measurement; inputs:
    texts in a request.
    """
    parser = script.parser(description, name)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--seconds", type=float, default=seconds, help="of each measurement")
    parser.add_argument("--inputs", type=int, default=inputs, help="texts in a request")
    parser.add_argument("--most", type=float, default=1500.0, help="requests a second that the generator may send")
    return parser.parse_args()


def described(subject: Subject, args: argparse.Namespace) -> dict[str, Any]:
    """What a file of results says of what was measured, and where."""
    profile = subject.profile
    return {
        "machine": profile.machine,
        "busy": profile.busy,
        "model": profile.model,
        "form": profile.form,
        "inputs_per_request": args.inputs,
        "seconds": args.seconds,
    }


def main() -> None:
    """Two sizes: one core, and all cores as threads of one process."""
    args = arguments(__doc__, "capacity", 30.0, 1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sizes = list(dict.fromkeys([(1, 1), (1, len(CORES))]))
    subject = subject_of(args.artifact, sizes, args.inputs)
    found: dict[str, Any] = {}
    for size in subject.profile.sizes:
        print(size.name, flush=True)
        found[size.name] = compared(subject, size, args.seconds, args.most)
    overhead = subject.profile.overhead.model_dump()
    script.write(args.out, {**described(subject, args), "overhead": overhead, "sizes": found})
    print(f"{args.out}: written")


if __name__ == "__main__":
    main()
