"""What the service costs beside the model: CPU time and instructions a request, and its share of the bare runtime.

`beside` asks a service whose runtime takes no time, on one core, one request at a time. Instructions are the kernel's
where it counts them; where it does not, `--callgrind` counts them, which takes minutes and needs valgrind. `share` is
`saturation` of `benchmarks.service.run`, with one text a request as well. With `--before` both are done with another
checkout's service, too, and its runs stand beside this one's, in turn. The bare runtime is this checkout's.

    python -m benchmarks.service.overhead ARTIFACT beside share --before ../other-checkout
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.service.harness import GENERATOR, SERVICE, Generator, Server, server
from benchmarks.service.process import pinned
from benchmarks.service.run import FORM, bare
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts

HERE = Path(__file__).resolve().parents[2]
INSTANT = (sys.executable, "-P", str(HERE / "benchmarks/service/instant.py"))
WARM_UP = 200  # requests
COUNTED = 200  # requests under callgrind, which takes fifty times as long
# Texts a request, and whether each is eight short ones.
CASES = {"1 short": (1, False), "8 short": (8, False), "32 short": (32, False), "8 long": (8, True)}


def asked(texts: Sequence[str], rows: int, count: int) -> list[bytes]:
    """So many requests of as many texts each, as bytes."""
    found, place = [], 0
    for _ in range(count):
        inputs = [texts[(place + 7 * n) % len(texts)] for n in range(1, rows + 1)]
        place += 7 * rows
        body = json.dumps({"inputs": inputs, "top_k": 1}).encode()
        head = f"POST /v1/classify HTTP/1.1\r\nhost: service\r\ncontent-length: {len(body)}\r\n"
        found.append(f"{head}content-type: application/json\r\naccept-encoding: gzip\r\n\r\n".encode() + body)
    return found


async def _ask(port: int, requests: Sequence[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(head.decode())
        found = re.search(rb"content-length: (\d+)", head)
        await reader.readexactly(int(found[1]) if found else 0)
    writer.close()


def ask(target: Server, requests: Sequence[bytes]) -> None:
    """One after the other on one connection."""
    with pinned(GENERATOR):
        asyncio.run(_ask(int(target.url.rpartition(":")[2]), requests))


@contextmanager
def instructions(target: Server) -> Iterator[list[int]]:
    """Put what the process ran meanwhile into a list; nothing where the kernel does not count."""
    found: list[int] = []
    perf = shutil.which("perf")
    if perf is None:
        yield found
        return
    command = [perf, "stat", "-x", ",", "-e", "instructions:u", "-p", str(target.process.pid)]
    counter = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(0.2)  # until it has attached itself
    try:
        yield found
    finally:
        counter.send_signal(signal.SIGINT)
        said = counter.communicate()[1].split(",")[0]
        found += [int(said)] if said.isdigit() else []


def beside(artifact: Path, texts: Sequence[str], rows: int, sides: dict[str, Path], args: argparse.Namespace) -> Any:
    """CPU and wall milliseconds, and instructions, of a request; the median of the rounds, in which sides alternate."""
    found: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    requests = asked(texts, rows, args.requests)
    with ExitStack() as stack:
        running = {
            side: stack.enter_context(
                server(str(artifact), "--runtime", "onnxruntime", cores=SERVICE, checkout=path, command=INSTANT)
            )
            for side, path in sides.items()
        }
        for one in running.values():
            ask(one, requests[:WARM_UP])
        for _ in range(args.pairs):
            for side, one in running.items():
                with instructions(one) as counted:
                    cpu, begun = one.cpu_seconds(), time.perf_counter()
                    ask(one, requests)
                    taken = {"cpu_ms": one.cpu_seconds() - cpu, "wall_ms": time.perf_counter() - begun}
                for name, seconds in taken.items():
                    found[side].setdefault(name, []).append(round(1e3 * seconds / len(requests), 4))
                for number in counted:
                    found[side].setdefault("instructions", []).append(round(number / len(requests)))
    shown = {side: {f"{k}_median": statistics.median(v) for k, v in one.items()} | one for side, one in found.items()}
    if args.callgrind:
        for side, path in sides.items():
            shown[side] |= {"instructions_by_callgrind": under_callgrind(artifact, requests[:COUNTED], path)}
    return shown


def under_callgrind(artifact: Path, requests: Sequence[bytes], checkout: Path) -> int:
    """Instructions of a request, the kernel's own not among them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        command = [*valgrind, *INSTANT]
        with server(
            str(artifact), "--runtime", "onnxruntime", cores=SERVICE, checkout=checkout, command=command
        ) as one:
            control = ["callgrind_control", str(one.process.pid)]
            ask(one, requests)
            subprocess.run([*control, "--instr=on"], check=True, capture_output=True)
            subprocess.run([*control, "--dump=before"], check=True, capture_output=True)
            ask(one, requests)
            subprocess.run([*control, "--dump=asked"], check=True, capture_output=True)
        written = next(text for file in out.parent.iterdir() if "dump asked" in (text := file.read_text()))
    total = re.search(r"^(?:totals|summary): (\d+)", written, re.MULTILINE)
    return round(int(total[1]) / len(requests)) if total else 0


def share(artifact: Path, texts: Sequence[str], rows: int, sides: dict[str, Path], args: argparse.Namespace) -> Any:
    """Rows a second when a third more is offered than the bare runtime can do, by what that did just before."""
    found: dict[str, list[float]] = {"bare_rows_per_second": [], **{side: [] for side in sides}}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, ExitStack() as stack:
        json.dump(list(texts), file)
        file.flush()
        running = {
            side: stack.enter_context(server(str(artifact), "--form", args.form, cores=SERVICE, checkout=path))
            for side, path in sides.items()
        }
        for _ in range(args.pairs):
            alone = bare(artifact, list(texts), args.seconds / 2, args.form)
            found["bare_rows_per_second"].append(round(alone, 1))
            for side, one in running.items():
                load = Generator(one, Path(file.name), 1.3 * alone / rows, args.seconds, rows).wait()
                found[side].append(round(load.rows_per_second, 1))
    pairs = {side: list(zip(found[side], found["bare_rows_per_second"], strict=True)) for side in sides}
    return {
        **found,
        "share": {side: round(statistics.median(a / b for a, b in both), 3) for side, both in pairs.items()},
        "ms_a_request_above_bare": {
            side: round(statistics.median(1e3 * rows * (1 / a - 1 / b) for a, b in both), 2)
            for side, both in pairs.items()
        },
    }


PARTS = {part.__name__: part for part in (beside, share)}


def main() -> None:
    """Run the parts that are named."""
    parser = script.parser(__doc__, "overhead")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--form", default=FORM, help="that is served, and run bare")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000, help="of one round of `beside`")
    parser.add_argument("--seconds", type=float, default=12, help="of load in one round of `share`")
    parser.add_argument("--callgrind", action="store_true", help="count instructions with valgrind")
    args = parser.parse_args()
    texts = script.texts()
    long = [" ".join(texts[n : n + 8]) for n in range(0, len(texts), 8)]
    sides = {**({"before": args.before} if args.before else {}), "after": HERE}
    manifest = open_artifact(args.artifact).manifest
    for part in args.parts:
        for case in args.cases:
            rows, longer = CASES[case]
            found = PARTS[part](args.artifact, long if longer else texts, rows, sides, args)
            results = script.read(args.out, {})
            results |= {
                "machine": facts(),
                "model": manifest.name,
                "form": args.form,
                "cores": [len(SERVICE), len(GENERATOR)],
            }
            results.setdefault(part, {})[f"{case} a request"] = found
            script.write(args.out, results)
            print(part, case, json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
