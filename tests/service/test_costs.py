"""What a request costs before it is refused, or beside the model's run: CPU seconds of the process, and its memory.

Not wall time, so that a busy machine is no failure. `benchmarks.attack.costs` measures every request of the list.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.attack.requests import Attack, listed, paired
from benchmarks.attack.watch import send
from benchmarks.service.process import cpu_seconds, forget_most, memory_mb
from pgb_core.artifact import Artifact
from tests.served import serving

CPU, MEMORY = 1.0, 100.0  # seconds, MB
NAMES = """
windows: 200,000 marks, stride 378
windows of 16 tokens
windows: 20 contexts of 199,000 characters
windows: 128 questions of 30,000 characters
answers: 100 of any length in 200 windows of 1,000 marks
texts: 20 of 198,000 blanks, cut on the left
texts: 20 of long words that nobody knows
v2: 128 texts, one output 20,000 times
v2: 233,000 outputs
v2: a million empty texts, binary
v2: data of a million lists
repository index of a million
native: empty lists
answer: questions
Hugging Face: nulls
TEI: empty objects
native: a million fields
native: one integer of 4,000,000 digits
texts: 20 of 199,000 characters
texts: 20 of one word of 199,000
texts: 128 pairs of 2 x 4,000 marks
deflate: a million lists
pipeline: 10,000 GET /
chunks of one byte
8,000 headers
a timeout of 30,000 digits and a letter
rerank: a query of 198,000 and 128 texts
rerank: 128 texts of 30,000, repeated
rerank: 3,000 texts
rerank: a million texts
zero-shot: 128 labels of a text of 198,000
zero-shot: 60 labels of each of 60 texts
zero-shot: a label of 95,000 ideographs and 128 texts
zero-shot: 128 labels in a template of 1,000
zero-shot: a million labels
""".strip().splitlines()


@pytest.fixture(scope="module")
def server(
    artifacts: tuple[Path, Path], labelled: Callable[..., Artifact]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A model of each kind with one thread, in a process that has been asked before."""
    ranks, topics = labelled("relevant").path, labelled("contradiction", "neutral", "entailment").path
    with serving(*artifacts, f"ranks={ranks}", f"topics={topics}", "--threads", "1") as (url, process):
        for _ in range(3):
            httpx.post(f"{url}/v1/classify", json={"inputs": ["the film " * 2_000] * 8})
        yield int(url.rpartition(":")[2]), process


@pytest.fixture(scope="module")
def attacks() -> dict[str, Attack]:
    """Those of the list that are tried here."""
    every = [*listed("mood", "who", 1 << 24), *paired("ranks", "topics")]
    return {attack.name: attack for attack in every if attack.name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_costly_request_is_bounded_before_the_cost(
    server: tuple[int, subprocess.Popen[bytes]], attacks: dict[str, Attack], name: str
) -> None:
    """At most a second of CPU and 100 MB, an answer that is no 5xx, and the process lives."""
    port, process = server
    attack = attacks[name]
    forget_most(process.pid)
    cpu, memory = cpu_seconds(process.pid), memory_mb(process.pid, "VmRSS")
    statuses = send(port, attack)
    assert statuses
    assert all(status < 500 for status in statuses)
    assert cpu_seconds(process.pid) - cpu <= CPU
    assert memory_mb(process.pid) - memory <= MEMORY
    assert process.poll() is None
