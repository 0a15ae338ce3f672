"""The service under load, against the bare runtime in this process.

Parts: `latency` (one request at a time), `saturation` (rows a second), `start` (time to ready, memory
at rest), `overload` (2 and 5 times capacity), `drain` (a signal at saturation), `swap` (versions
switched at saturation), `soak` (a long mixed run). Each writes its part of the result file. Where
rates are compared, the generator has a core for itself and the service the others.

    python -m benchmarks.service.run ARTIFACT latency saturation start
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as the service does; it is faster, too

from benchmarks import script
from benchmarks.service.harness import GENERATOR, SERVICE, STAGES, Generator, Load, Server, server
from benchmarks.service.process import pinned
from pgb_core.artifact import open_artifact
from pgb_core.inference.runtimes.registry import open_runtime
from pgb_core.inference.runtimes.selfcheck import known_ids
from pgb_core.inference.steps import all_of
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Tokens
from pgb_core.machine import facts
from service.batching.waiting import Entry, Waiting
from service.models.model import measure
from service.settings import read_settings

FORM = "fp32"  # of the service, and of the bare runtime beside it
ROWS = 8
ROUNDS = 5  # of a rate and its neighbour
SWAPS = 50


def bare(artifact: Path, texts: list[str], seconds: float, form: str = FORM) -> float:
    """Rows a second of tokenising and running on the service's cores, batches cut as the service cuts them
    when everything waits."""
    with pinned(SERVICE):
        return _bare(artifact, texts, seconds, form)


def _bare(artifact: Path, texts: list[str], seconds: float, form: str) -> float:
    opened = open_artifact(artifact)
    tokenizer = Tokenizer.open(opened.tokenizer, opened.manifest.max_length)
    runtime = open_runtime(opened, form)
    cost = measure(runtime, opened.manifest.max_length, known_ids(opened, form)[0])
    budget = read_settings([]).max_batch_tokens
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        waiting: Waiting[Tokens] = Waiting(budget, cost.launch, 1e9)
        waiting.add(*[Entry(item, len(item), 0.0) for item in all_of(tokenizer.texts(4 * texts))])
        while batch := waiting.take(1e9):
            runtime.run([entry.item for entry in batch])
            rows += len(batch)
    return rows / (time.perf_counter() - begun)


def in_process(artifact: Path, texts: list[str], rate: float, seconds: float) -> float:
    """The median milliseconds of tokenising and running one text, at the pace of the clients."""
    opened = open_artifact(artifact)
    tokenizer = Tokenizer.open(opened.tokenizer, opened.manifest.max_length)
    runtime = open_runtime(opened, FORM)
    found, due = [], time.perf_counter()
    for n in range(round(rate * seconds)):
        begun = time.perf_counter()
        runtime.run(all_of(tokenizer.texts([texts[7 * n % len(texts)]])))
        found.append(1e3 * (time.perf_counter() - begun))
        due += 1 / rate
        time.sleep(max(0.0, due - time.perf_counter()))
    return statistics.median(found[len(found) // 10 :])


def latency(artifact: Path, texts: list[str], file: Path) -> dict[str, Any]:
    """p50 over HTTP with one request at a time, above tokenising and running in process at the same pace.

    Sides alternate. Two paces: between requests 10 ms apart the machine hardly sleeps, between requests
    25 ms apart it does, and every step then begins with cold caches.
    """
    found = {}
    with server(str(artifact), "--form", FORM) as running:
        for rate in (100, 40):
            pairs: list[tuple[float, Load]] = []
            for _ in range(3):
                alone = in_process(artifact, texts, rate, 8)
                pairs.append((alone, Generator(running, file, rate=rate, seconds=10, rows=1).wait()))
            above = [load.trend("accepted_ms")["p(50)"] - alone for alone, load in pairs]
            last = pairs[-1][1]
            found[f"{rate} requests a second"] = {
                "in_process_p50_ms": [round(alone, 3) for alone, _ in pairs],
                "over_http_p50_ms": [round(load.trend("accepted_ms")["p(50)"], 3) for _, load in pairs],
                "above_ms": round(statistics.median(above), 3),
                "stages_p50_ms": {name: last.trend(f"stage_{name}_ms")["p(50)"] for name in STAGES},
                "generator_share_of_cores": round(last.generator_share, 3),
            }
    return found


def capacity(artifact: Path, running: Server, texts: list[str], file: Path) -> tuple[float, float]:
    """Rows a second of the bare runtime, and of the service when more is offered than it can do."""
    alone = bare(artifact, texts, 5)
    load = Generator(running, file, rate=1.3 * alone / ROWS, seconds=10, rows=ROWS).wait()
    return alone, load.rows_per_second


def saturation(artifact: Path, texts: list[str], file: Path) -> dict[str, Any]:
    """Rows a second when a third more is offered than the bare runtime can do; the median of neighbours' ratios.

    Long texts are eight short ones each.
    """
    found: dict[str, Any] = {"cores_of_service_and_generator": [len(SERVICE), len(GENERATOR)]}
    long = [" ".join(texts[n : n + 8]) for n in range(0, len(texts), 8)]
    mixes = [("short", texts, 4 * ROWS), ("short", texts, ROWS), ("long", long, ROWS)]
    with server(str(artifact), "--form", FORM, cores=SERVICE) as running:
        for length, asked, rows in mixes:
            file.write_text(json.dumps(asked))
            pairs = []
            for _ in range(ROUNDS):
                alone = bare(artifact, asked, 6)
                pairs.append((alone, Generator(running, file, 1.3 * alone / rows, 12, rows).wait()))
            found[f"{rows} {length} texts a request"] = {
                "bare_rows_per_second": [round(alone, 1) for alone, _ in pairs],
                "served_rows_per_second": [round(load.rows_per_second, 1) for _, load in pairs],
                "ratio": round(statistics.median(load.rows_per_second / alone for alone, load in pairs), 3),
                "last": pairs[-1][1].summary(),
            }
    return found


def start(artifact: Path, texts: list[str], file: Path) -> dict[str, Any]:
    """Seconds from the command to ready, and memory at rest above the bare runtime with the model."""
    at_rest = (
        "import sys;"
        "from pgb_core.artifact import open_artifact; from pgb_core.inference.runtimes.registry import open_runtime;"
        "from pgb_core.inference.tokens import Tokens;"
        f"r = open_runtime(open_artifact(sys.argv[1]), {FORM!r});"
        "r.run([Tokens([1] * 256, [0] * 256)]);"
        "line = next(l for l in open('/proc/self/status') if l.startswith('VmRSS'));"
        "print(int(line.split()[1]) / 1024)"
    )
    bare_mb = _printed(at_rest, artifact)
    load = (
        "import sys, time; from pgb_core.artifact import open_artifact; import onnxruntime;"
        "from pgb_core.inference.runtimes.registry import open_runtime; t = time.perf_counter();"
        f"a = open_artifact(sys.argv[1]); open_runtime(a, {FORM!r});"
        "print(time.perf_counter() - t)"
    )
    load_seconds = min(_printed(load, artifact) for _ in range(3))
    ready, memory = [], 0.0
    for _ in range(3):
        with server(str(artifact), "--form", FORM) as running:
            ready.append(running.ready_seconds)
            memory = running.rss_mb()
    return {
        "ready_seconds": [round(value, 2) for value in ready],
        "model_load_seconds": round(load_seconds, 2),
        "above_load_seconds": round(min(ready) - load_seconds, 2),
        "rss_mb": round(memory),
        "bare_runtime_rss_mb": round(bare_mb),
        "above_bare_mb": round(memory - bare_mb),
    }


def _printed(code: str, artifact: Path) -> float:
    """The number that a process of its own prints."""
    return float(subprocess.check_output([sys.executable, "-c", code, str(artifact)]))


def overload(artifact: Path, texts: list[str], file: Path, seconds: float = 60) -> dict[str, Any]:
    """Two and five times what the service can do: goodput, latency of what is accepted, refusals, memory."""
    found: dict[str, Any] = {"bound_seconds": read_settings([]).max_queue_seconds}
    with server(str(artifact), "--form", FORM, cores=SERVICE) as running:
        runs = [capacity(artifact, running, texts, file) for _ in range(3)]
        alone, served = (statistics.median(values) for values in zip(*runs, strict=True))
        found["bare_rows_per_second"], found["saturation_rows_per_second"] = round(alone, 1), round(served, 1)
        for times in (2, 5):
            before = running.rss_mb()
            load = Generator(running, file, rate=times * served / ROWS, seconds=seconds, rows=ROWS).wait()
            goodput = load.rows_per_second
            found[f"x{times}"] = {
                "goodput_of_saturation": round(goodput / served, 3),
                "rss_mb_before_and_after": [round(before), round(running.rss_mb())],
                **load.summary(),
            }
    return found


def drain(artifact: Path, texts: list[str], file: Path) -> dict[str, Any]:
    """A signal in the middle of saturation; what was accepted before and after it."""
    with server(str(artifact), "--form", FORM, "--drain-seconds", "4", cores=SERVICE) as running:
        _, served = capacity(artifact, running, texts, file)
        generator = Generator(running, file, rate=1.1 * served / ROWS, seconds=6, rows=ROWS)
        time.sleep(4)
        running.process.send_signal(signal.SIGTERM)
        begun = time.perf_counter()
        while running.get("/health")[0] == 200:
            time.sleep(0.002)
        turned = time.perf_counter() - begun
        load = generator.wait()
        code = running.process.wait(60)
    return {"ready_turned_503_after_ms": round(1e3 * turned, 1), "exit": code, **load.summary()}


def expected_labels(running: Server, texts: list[str]) -> dict[str, str]:
    """The label of every text, asked alone."""
    found = {}
    for text in texts:
        body = json.loads(running.post("/v1/classify", {"inputs": text, "top_k": 1})[1])
        found[text] = body["results"][0][0]["label"]
    return found


def swap(artifact: Path, texts: list[str], file: Path) -> dict[str, Any]:
    """Versions switched again and again at saturation: no error, no mixed-up answer."""
    with tempfile.TemporaryDirectory() as folder, _versions(artifact, Path(folder)) as running:
        checks = Path(folder) / "labels.json"
        checks.write_text(json.dumps(expected_labels(running, texts)))
        _, served = capacity(artifact, running, texts, file)
        swaps: list[float] = []
        failures = 0
        generator = Generator(running, file, rate=0.95 * served / ROWS, seconds=75, rows=ROWS, check=checks)
        before = running.rss_mb(), running.descriptors()
        for turn in range(SWAPS):
            begun = time.perf_counter()
            status, _ = running.post("/v1/models/model/load", {"version": "12"[turn % 2]})
            failures += status != 200
            swaps.append(time.perf_counter() - begun)
            time.sleep(0.3)
        load = generator.wait()
        after = running.rss_mb(), running.descriptors()
    return {
        "swaps": SWAPS,
        "failed_swaps": failures,
        "median_swap_seconds": round(statistics.median(swaps), 2),
        "rss_mb": [round(before[0]), round(after[0])],
        "descriptors": [before[1], after[1]],
        **load.summary(),
    }


def soak(artifact: Path, texts: list[str], file: Path, seconds: float = 600) -> dict[str, Any]:
    """80% load with clients that leave, versions switched and bad requests mixed in."""
    with tempfile.TemporaryDirectory() as folder, _versions(artifact, Path(folder)) as running:
        _, served = capacity(artifact, running, texts, file)
        generator = Generator(running, file, rate=0.8 * served / ROWS, seconds=seconds, rows=ROWS)
        end = time.perf_counter() + seconds
        memory, descriptors = [running.rss_mb()], [running.descriptors()]
        bad: dict[str, int] = {}
        left = swaps = 0
        while time.perf_counter() < end:
            for body in BAD:
                status, _ = running.post("/v1/classify", body)
                bad[str(status)] = bad.get(str(status), 0) + 1
            left += _leave(running, texts)
            if len(memory) % 10 == 0:
                status, _ = running.post("/v1/models/model/load", {"version": random.choice("12")})  # noqa: S311
                swaps += status == 200
            time.sleep(1)
            memory.append(running.rss_mb())
            descriptors.append(running.descriptors())
        load = generator.wait()
        time.sleep(2)
        descriptors.append(running.descriptors())
    minute = max(1, len(memory) // 10)
    return {
        "seconds": seconds,
        "bad_requests_by_status": bad,
        "clients_that_left": left,
        "swaps": swaps,
        "rss_mb_by_tenth": [round(max(memory[n : n + minute])) for n in range(0, len(memory), minute)],
        "descriptors_first_most_last": [descriptors[0], max(descriptors), descriptors[-1]],
        **load.summary(),
    }


def _leave(running: Server, texts: list[str]) -> int:
    """A client that goes away before its answer comes."""
    host, port = running.url.removeprefix("http://").split(":")
    body = json.dumps({"inputs": texts[:32]}).encode()
    with socket.create_connection((host, int(port))) as client:
        head = f"POST /v1/classify HTTP/1.1\r\nhost: x\r\nx-api-key: {running.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        time.sleep(0.002)
    return 1


@contextmanager
def _versions(artifact: Path, folder: Path) -> Iterator[Server]:
    """A server with the artifact as two versions of one model, asked with an administrator's key."""
    for version in "12":
        shutil.copytree(artifact, folder / "models" / "model" / version)
    keys = folder / "keys"
    command = [sys.executable, "-m", "service.keys", str(keys), "bench", "--admin"]
    secret = subprocess.check_output(command, text=True).strip()
    folders = ("--models-dir", str(folder / "models"), "--keys-file", str(keys))
    with server(f"model={folder / 'models' / 'model' / '1'}", *folders, cores=SERVICE) as running:
        yield replace(running, key=secret)


BAD: list[dict[str, object]] = [{"inputs": []}, {"inputs": 7}, {"nothing": 1}, {"inputs": "x", "model": "none"}]
PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    part.__name__: part for part in (latency, saturation, start, overload, drain, swap, soak)
}


def main() -> None:
    """Run the parts that are named."""
    parser = script.parser(__doc__, "service")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--seconds", type=float, help="of overload and soak")
    args = parser.parse_args()
    texts = script.texts()
    for part in args.parts:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(texts, file)
            file.flush()
            more = {"seconds": args.seconds} if args.seconds and part in ("overload", "soak") else {}
            found = PARTS[part](args.artifact, texts, Path(file.name), **more)
        results = script.read(args.out, {})
        manifest = open_artifact(args.artifact).manifest
        kept = round(manifest.weights["kept"] / manifest.weights["dense"], 3)
        results[part] = {"machine": facts(), "model": manifest.name, "weights_kept": kept, **found}
        script.write(args.out, results)
        print(part, json.dumps(found, indent=1), flush=True)


if __name__ == "__main__":
    main()
