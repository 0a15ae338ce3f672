"""How much padding an input may add to a batch, in a simulation of the line before a model.

The line is kept at a depth, as at saturation; lengths are those of the built-in texts. A batch takes LAUNCH
padded tokens' time to start, and one token's time for each padded token. Rows a thousand tokens' time, by depth and by
the share of LAUNCH that an input may add as padding.

    python -m benchmarks.line
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

from service.waiting import Entry, WaitingRoom

LAUNCH = 12
BUDGET = 1024
SHARES = (1.0, 0.5, 0.33, 0.25, 0.17, 0.08)
DEPTHS = (8, 24, 64, 160, 520)
ROUNDS = 2000
TEXTS = Path("examples/data/sentiment.jsonl")
OUT = Path("benchmarks/results/line.json")


def lengths() -> list[int]:
    """About as many tokens as the texts have: words, marks, and the two that every input gets."""
    texts = [json.loads(line)["text"] for line in TEXTS.read_text("utf-8").splitlines()]
    return [2 + len(text.split()) + sum(not (c.isalnum() or c.isspace()) for c in text) for text in texts]


def rows_per_time(sizes: list[int], depth: int, share: float) -> float:
    """Rows in a thousand tokens' time, when `depth` inputs always wait."""
    room: WaitingRoom[None] = WaitingRoom(BUDGET, share * LAUNCH, BUDGET)
    arrivals = count()
    now, rows = 0.0, 0
    for _ in range(ROUNDS):
        while room.count < depth:
            room.add(Entry(None, sizes[7 * next(arrivals) % len(sizes)], now))
        batch = room.take(now)
        rows += len(batch)
        now += LAUNCH + len(batch) * max(entry.size for entry in batch)
    return 1e3 * rows / now


def main() -> None:
    """Every depth and share."""
    sizes = lengths()
    found = {
        str(depth): {str(share): round(rows_per_time(sizes, depth, share), 2) for share in SHARES} for depth in DEPTHS
    }
    OUT.write_text(json.dumps({"launch": LAUNCH, "budget": BUDGET, "rows_by_depth_and_share": found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
