"""One process with all cores against one process a core: rows a second, latency, and the memory they share.

Every layout has the same cores, shared with the generator. Requests go to the processes in turn, as a
balancer would send them. Memory is read after load: what is private to a process, what is shared with the
others, and both again for the model alone (the difference to a process that serves nothing but imports).

    python -m benchmarks.workers ARTIFACT
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.service.harness import CORES, Generator, Load, Server, server
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts

_KINDS = ("Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
_IMPORTS = "import service.__main__, sys; print(flush=True); sys.stdin.read()"


@dataclass(frozen=True)
class Group(Server):
    """Several servers as one target; `url` lists theirs."""

    members: tuple[Server, ...] = ()

    def cpu_seconds(self) -> float:
        """Of all."""
        return sum(member.cpu_seconds() for member in self.members)


@contextmanager
def group(artifact: Path, processes: int, threads: int) -> Iterator[Group]:
    """That many servers, each with that many threads."""
    with ExitStack() as stack:
        members = tuple(
            stack.enter_context(server(str(artifact), "--form", "fp32", "--threads", str(threads)))
            for _ in range(processes)
        )
        first = members[0]
        yield Group(",".join(member.url for member in members), first.process, first.ready_seconds, members=members)


def memory(processes: Sequence[int]) -> dict[str, float]:
    """Megabytes of all processes together, by kind. `Pss` counts a page that n processes share as 1/n."""
    found = dict.fromkeys(_KINDS, 0.0)
    for pid in processes:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            kind, _, rest = line.partition(":")
            if kind in found:
                found[kind] += int(rest.split()[0]) / 1024
    return {kind.lower(): round(value, 1) for kind, value in found.items()}


def idle(processes: int) -> dict[str, float]:
    """Memory of that many processes that have imported the service and hold no model."""
    with ExitStack() as stack:
        started = []
        for _ in range(processes):
            process = subprocess.Popen([sys.executable, "-c", _IMPORTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(process)
            assert process.stdout is not None  # noqa: S101 - asked for above
            process.stdout.readline()
            started.append(process)
        return memory([process.pid for process in started])


def layout(artifact: Path, texts: Path, processes: int, threads: int, rates: dict[str, tuple[float, int]]) -> Any:
    """One round: each named load of (requests a second, rows a request), and the memory after it."""
    found: dict[str, Any] = {}
    with group(artifact, processes, threads) as target:
        for name, (rate, rows) in rates.items():
            load = Generator(target, texts, rate=rate, seconds=12, rows=rows).wait()
            found[name] = _figures(load, rows)
        found["memory_mb"] = memory([member.process.pid for member in target.members])
    return found


def _figures(load: Load, rows: int) -> dict[str, Any]:
    milliseconds = load.trend("accepted_ms")
    return {
        "rows_per_second": round(load.rows_per_second, 1),
        "p50_ms": milliseconds["p(50)"],
        "p99_ms": milliseconds["p(99)"],
        "refused": load.count("refused"),
        "failed": load.count("failed"),
        "rows_a_request": rows,
        "generator_share_of_cores": round(load.generator_share, 3),
        "server_share_of_cores": round(load.server_share, 3),
    }


def median(rounds: Sequence[Any]) -> dict[str, dict[str, float]]:
    """Of each figure over the rounds of a layout."""
    kept = ("rows_per_second", "p50_ms", "p99_ms", *(kind.lower() for kind in _KINDS))
    return {
        part: {
            figure: round(statistics.median(one[part][figure] for one in rounds), 3)
            for figure in rounds[0][part]
            if figure in kept
        }
        for part in rounds[0]
    }


def main() -> None:
    """Both layouts in turn, three times; the figures of each, and the medians."""
    parser = script.parser(__doc__, "workers")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--saturating", type=float, default=250, help="requests of 8 rows a second, more than it can do"
    )
    parser.add_argument("--single", type=float, default=150, help="requests of 1 row a second, about half of capacity")
    args = parser.parse_args()
    cores = len(CORES)
    rates = {"single": (args.single, 1), "saturated": (args.saturating, 8)}
    rounds: dict[str, list[Any]] = {f"1x{cores}": [], f"{cores}x1": []}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(script.texts(), file)
        file.flush()
        for _ in range(args.rounds):
            for processes, threads in ((1, cores), (cores, 1)):
                found = layout(args.artifact, Path(file.name), processes, threads, rates)
                rounds[f"{processes}x{threads}"].append(found)
                print(f"{processes}x{threads}", json.dumps(found), flush=True)
    manifest = open_artifact(args.artifact).manifest
    result = {
        "machine": facts(),
        "model": manifest.name,
        "weights_kept": round(manifest.weights["kept"] / manifest.weights["dense"], 3),
        "model_file_mb": round((args.artifact / "model.onnx").stat().st_size / 2**20, 1),
        "offered": {name: {"requests_per_second": rate, "rows": rows} for name, (rate, rows) in rates.items()},
        "median": {name: median(several) for name, several in rounds.items()},
        "imports_only_mb": {f"{n}": idle(n) for n in (1, cores)},
        "rounds": rounds,
    }
    script.write(args.out, result)
    print(json.dumps(result["median"], indent=1))


if __name__ == "__main__":
    main()
