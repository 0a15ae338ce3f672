"""Small requests beside large ones: how many of the small ones are refused, and how long the others take.

Twelve clients, a connection each, ask to classify one text twenty times a second. Beside them, in turn: nobody;
sixteen requests of the largest allowed size, again and again; one request at every limit of work; and six clients
whose large requests are refused.

    python -m benchmarks.attack.mixtures CLASSIFIER QA [--service FOLDER] [--part NAME]
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import script
from benchmarks.attack.costs import MODELS, OUT, start
from benchmarks.attack.crowd import Crowd
from benchmarks.attack.requests import Attack, as_json, http, many_texts
from benchmarks.attack.watch import Liveness, send
from benchmarks.service.process import free_port
from pgb_core.machine import facts

SECONDS = 30.0


def beside() -> dict[str, tuple[int, list[Attack]]]:
    """How many clients send what, one after the other without a pause."""

    def classify(texts: list[str], **more: object) -> Attack:
        return Attack("texts", (http("/v1/classify", as_json({"inputs": texts, "model": MODELS[0], **more})),))

    context = "the keeper lit the lamp and wrote it down. " * 4_600
    answer = Attack("context", (http("/v1/answer", as_json({"question": "who?", "context": context})),))
    largest = [classify(many_texts("word and ", 20, 199_000)), classify(many_texts("word and ", 128, 31_000))]
    limits = [classify(many_texts("word and ", 128, 5_000)), answer]
    refused = [
        classify(many_texts("a", 20, 199_000)),
        classify(many_texts("word and ", 129, 1_000)),
        classify(many_texts("word and ", 128, 5_000), timeout_ms=200),
    ]
    return {
        "nobody": (0, []),
        "16 of the largest": (16, largest),
        "one at every limit": (2, limits),
        "6 refused": (6, refused),
    }


def run(port: int, clients: int, attacks: Sequence[Attack]) -> dict[str, Any]:
    """The small ones beside so many large ones."""
    stop, found = threading.Event(), Counter[str]()

    def attack(number: int) -> None:
        turn = number
        while not stop.is_set():
            found.update([str(status) for status in send(port, attacks[turn % len(attacks)])] or ["none"])
            turn += 1

    threads = [threading.Thread(target=attack, args=(n,), daemon=True) for n in range(clients)]
    with Liveness(port, 0.02) as live, Crowd(port, MODELS[0]) as crowd:
        time.sleep(1)
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        stop.set()
    for thread in threads:
        thread.join(100)
    return {**crowd.summary(), "silence_s": round(live.worst, 3), "large_by_status": dict(sorted(found.items()))}


def main() -> None:
    """Every mixture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=2, type=Path)
    parser.add_argument("--service", type=Path, default=Path(), help="folder of the code that is served")
    parser.add_argument("--part", default="after", help="name of the part of the result file")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found = {}
    for name, (clients, attacks) in beside().items():
        port = free_port()
        process = start(args.service, args.models, port)
        try:
            found[name] = run(port, clients, attacks)
        finally:
            process.kill()
            process.wait()
        print(name, json.dumps(found[name]), flush=True)
    results = script.read(args.out, {})
    results.setdefault("mixtures", {})[args.part] = {"machine": facts(), "seconds": SECONDS, "beside": found}
    script.write(args.out, results)


if __name__ == "__main__":
    main()
