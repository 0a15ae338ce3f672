"""How much padding an input may add to a batch, in a simulation of the queue before a model.

The queue is kept at a depth, as at saturation; lengths are those of the built-in texts. A batch takes LAUNCH
padded tokens' time to start, and one token's time for each padded token. Rows a thousand tokens' time, by depth and by
rule: how many times its share of LAUNCH an input may add as padding, or a flat quarter of LAUNCH in every batch.

    python -m benchmarks.padding
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

from benchmarks import script
from service.batching.waiting import Entry, Waiting

LAUNCH = 12
BUDGET = 1024
TIMES = (4.0, 2.0, 1.0, 0.5, 0.25)
FLAT = 0.25
DEPTHS = (8, 24, 64, 160, 520)
ROUNDS = 2000
OUT = Path("benchmarks/results/padding.json")


def lengths() -> list[int]:
    """About as many tokens as the texts have: words, marks, and the two that every input gets."""
    texts = script.texts()
    return [2 + len(text.split()) + sum(not (c.isalnum() or c.isspace()) for c in text) for text in texts]


class _Flat(float):
    """A launch whose share is the same for every row: padding is bounded alike in small batches and in large ones."""

    def __truediv__(self, rows: float) -> float:
        return self


def rows_per_time(sizes: list[int], depth: int, waiting: Waiting[None]) -> float:
    """Rows in a thousand tokens' time, when `depth` inputs always wait."""
    arrivals = count()
    now, rows = 0.0, 0
    for _ in range(ROUNDS):
        while waiting.count < depth:
            waiting.add(Entry(None, sizes[7 * next(arrivals) % len(sizes)], now))
        batch = waiting.take(now)
        rows += len(batch)
        now += LAUNCH + len(batch) * max(entry.size for entry in batch)
    return 1e3 * rows / now


def main() -> None:
    """Every depth and rule."""
    sizes = lengths()
    found = {}
    for depth in DEPTHS:
        rules = {f"x{times:g}": Waiting[None](BUDGET, times * LAUNCH, BUDGET) for times in TIMES}
        rules["flat"] = Waiting(BUDGET, _Flat(FLAT * LAUNCH), BUDGET)
        found[str(depth)] = {rule: round(rows_per_time(sizes, depth, waiting), 2) for rule, waiting in rules.items()}
    script.write(OUT, {"launch": LAUNCH, "budget": BUDGET, "rows_by_depth_and_rule": found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
