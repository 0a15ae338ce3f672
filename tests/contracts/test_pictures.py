"""The picture of the pipeline is drawn by its script, and no text of it leaves its box, in any font."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import pictures

ROOT = Path(__file__).parents[2]


def test_the_picture_is_what_the_script_draws() -> None:
    """Nobody changed it by hand."""
    assert (ROOT / pictures.PIPELINE).read_text("utf-8") == pictures.pipeline()
    assert (ROOT / pictures.PEERS).read_text("utf-8") == pictures.peers(ROOT / "benchmarks/results/peers.json")


def test_every_text_has_a_fixed_width_within_the_box_around_it() -> None:
    """`textLength` holds in every font; a text that starts in a box ends in it."""
    drawn = pictures.pipeline()
    boxes = [
        tuple(map(float, found))
        for found in re.findall(r'<rect class="b" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawn)
    ]
    texts = re.findall(r'<text class="\w" x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)".*?textLength="(\d+)"', drawn)
    assert len(texts) == drawn.count("<text")
    inside = 0
    for x, y, anchor, length in ((float(x), float(y), anchor, float(length)) for x, y, anchor, length in texts):
        start = x - length * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        assert 0 <= start <= start + length <= pictures.WIDTH
        for left, top, width, height in boxes:
            if left <= x <= left + width and top <= y <= top + height:
                inside += 1
                assert left + 4 < start
                assert start + length < left + width - 4
    assert inside == 2 * len(pictures.SERVED) + 3
