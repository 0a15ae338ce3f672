"""What was found, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.planning.arrivals import Traffic
from service.planning.fleet import Goal, Outcome
from service.planning.profile import Profile, Size
from service.planning.search import MOST_REPLICAS, Forecast

_HEAD = ("size", "replicas", "cores", "req/s each", "p50 ms", "p95 ms", "p99 ms", "refused", "model", "in use")


@dataclass(frozen=True)
class Row:
    """A size of replica with its forecast. Without one, no number of replicas that was tried holds the goal, and
    `alone` is what requests take that find everything idle."""

    size: Size
    found: Forecast | None
    alone: Outcome | None = None


def as_json(
    profile: Profile, traffic: Traffic, goal: Goal | None, settings: dict[str, Any], rows: Sequence[Row]
) -> dict[str, Any]:
    """All figures. Times are milliseconds, shares are of 1."""
    inputs, tokens = traffic.means()
    return {
        "profile": profile.model_dump(exclude={"sizes"}),
        "traffic": {
            "requests_per_second": round(traffic.rate, 3),
            "inputs_per_request": round(inputs, 3),
            "tokens_per_request": round(tokens, 3),
        },
        "goal": None if goal is None else {"p99_ms": 1e3 * goal.p99, "refused": goal.refused},
        "settings": settings,
        "sizes": [_figures(row, traffic.rate) for row in rows],
    }


def _figures(row: Row, rate: float) -> dict[str, Any]:
    named = {"size": row.size.name, "workers": row.size.workers, "threads": row.size.threads}
    if row.found is None:
        alone = None if row.alone is None else _milliseconds(row.alone, 0.99)
        return {**named, "replicas": None, "p99_ms_of_an_idle_replica": alone}
    found = row.found
    return {
        **named,
        "replicas": found.replicas,
        "cores": found.cores,
        "requests_per_second_each": round(rate / found.replicas, 3),
        **{f"p{round(100 * share)}_ms": _milliseconds(found.outcome, share) for share in (0.5, 0.95, 0.99)},
        "refused": round(found.outcome.refused_share, 6),
        "model_busy": round(found.outcome.model, 4),
        "cores_busy": round(found.outcome.cores, 4),
        "simulated_replicas": found.simulated,
        "simulated_requests": found.outcome.requests,
    }


def _milliseconds(outcome: Outcome, share: float) -> float | None:
    return round(1e3 * outcome.percentile(share), 3) if outcome.latencies else None


def table(found: dict[str, Any]) -> str:
    """For a terminal. found: what `as_json` gave."""
    profile, traffic, goal = found["profile"], found["traffic"], found["goal"]
    inputs = f"{traffic['inputs_per_request']:g} input{'' if traffic['inputs_per_request'] == 1 else 's'}"
    lines = [
        f"{profile['model']} in {profile['form']}, as timed on {profile['machine'].get('cpu', 'an unknown processor')}",
        f"{traffic['requests_per_second']:,g} requests a second of {inputs} and "
        f"{traffic['tokens_per_request']:g} tokens on average",
    ]
    if goal is not None:
        lines.append(f"fewest replicas with p99 within {goal['p99_ms']:g} ms and at most {goal['refused']:.2%} refused")
    lines += ["", "".join(f"{name:>11}" for name in _HEAD)]
    known = [one for one in found["sizes"] if one["replicas"] is not None]
    least = min((one["cores"] for one in known), default=0)
    for one in found["sizes"]:
        if one["replicas"] is None:
            idle = one["p99_ms_of_an_idle_replica"]
            most = f"up to {MOST_REPLICAS:,} " if idle is not None and goal and idle <= goal["p99_ms"] else ""
            lines.append(
                f"{one['size']:>11}  no number of replicas {most}holds it: p99 of an idle replica is {idle} ms"
            )
            continue
        times = (_shown(one[name]) for name in ("p50_ms", "p95_ms", "p99_ms"))
        cells = [one["size"], f"{one['replicas']:,}", f"{one['cores']:,}", f"{one['requests_per_second_each']:,.1f}"]
        shares = [f"{one['refused']:.2%}", f"{one['model_busy']:.0%}", f"{one['cores_busy']:.0%}"]
        mark = "  fewest cores" if goal is not None and one["cores"] == least else ""
        lines.append("".join(f"{cell:>11}" for cell in [*cells, *times, *shares]) + mark)
    sampled = [one for one in known if one["simulated_replicas"] < one["replicas"]]
    if sampled:
        each = ", ".join(f"{one['simulated_replicas']} of {one['replicas']:,} of {one['size']}" for one in sampled)
        lines += ["", f"simulated were {each}, with their share of the requests"]
    return "\n".join(lines)


def _shown(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:,.1f}"
