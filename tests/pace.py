"""What tests cost. `--fast` runs the cheapest files within its time, and nothing that starts a process.

Each run keeps in pytest's cache what its tests cost, and names at its end the marks `slow` that are not true.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SLOW = 5.0  # seconds of processor time, above which a test is to be marked
FAST = 50.0  # seconds of `--fast`, after which no test begins
UNKNOWN = 0.1  # seconds of a test that never ran here
STARTS = {
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
}  # as Python audits them
_CACHED = "pgb/costs"
_MARKED = {True: "is marked slow", False: "is not marked slow"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fast`."""
    parser.addoption("--fast", action="store_true", help=f"the cheapest files, within {FAST:g} s and in this process")


def pytest_configure(config: pytest.Config) -> None:
    """Also tells pytest of this plugin's hooks."""
    if config.getoption("fast"):
        config.option.markexpr = config.option.markexpr or "not slow"
    config.pluginmanager.register(Pace(config, config.getoption("fast")), "pace")


@dataclass(eq=False)  # pytest keeps plugins in sets
class Pace:
    """The hooks of one run. costs: seconds of processor time by test; untrue: marks that are not."""

    config: pytest.Config
    fast: bool
    began: float = field(default_factory=time.monotonic)
    running: bool = False
    left_out: int = 0
    costs: dict[str, float] = field(default_factory=dict)
    untrue: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if cache := getattr(self.config, "cache", None):  # absent with -p no:cacheprovider
            self.costs = cache.get(_CACHED, {})
        if self.fast:
            sys.addaudithook(self.refuse)

    def refuse(self, event: str, given: tuple[object, ...]) -> None:
        """A test that starts a process is skipped then and there, and so is one that needs such a test's fixture."""
        if self.running and event in STARTS:
            pytest.skip("starts a process")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The cheapest files first; those of one cost as they came."""
        if self.fast:
            files: defaultdict[Path, list[float]] = defaultdict(list)
            for item in items:
                files[item.path].append(self.costs.get(item.nodeid, UNKNOWN))
            items.sort(key=lambda item: sum(files[item.path]) / len(files[item.path]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test, with what is made for it. When the time is over, it was the last one."""
        self.running, before = True, _spent()
        try:
            return (yield)
        finally:
            self.running = False
            self.costs[item.nodeid] = round(_spent() - before, 3)
            if self.fast and time.monotonic() > self.began + FAST:
                rest = item.session.items[item.session.items.index(item) + 1 :]
                del item.session.items[len(item.session.items) - len(rest) :]
                self.left_out = len(rest)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Without what is made for it, which other tests may need too."""
        before = _spent()
        try:
            return (yield)
        finally:
            spent, slow = _spent() - before, item.get_closest_marker("slow") is not None
            if (spent > SLOW and not slow) or (spent < SLOW / 4 and slow):
                self.untrue.append(f"{item.nodeid} took {spent:.1f} s of the processor and {_MARKED[slow]}")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What `--fast` left out, and marks that are not true."""
        if cache := getattr(self.config, "cache", None):  # absent with -p no:cacheprovider
            cache.set(_CACHED, self.costs)
        for line in self.untrue:
            terminalreporter.write_line(f"slow: {line}")
        if self.left_out:
            terminalreporter.write_line(f"--fast: {self.left_out} tests were left out after {FAST:g} s")


def _spent() -> float:
    """Seconds of the processor, of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
