"""What a test costs: `--fast` leaves out what starts a process, and the end of a run names each `slow` that is not true."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator

import pytest

SLOW = 2.0  # seconds of processor time, above which a test is to be marked
STARTS = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}  # as Python audits them
_UNTRUE = pytest.StashKey[list[str]]()
_running = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fast`."""
    parser.addoption("--fast", action="store_true", help="without slow tests, and without any that start a process")


def pytest_configure(config: pytest.Config) -> None:
    """A process that a test starts ends that test."""
    config.stash[_UNTRUE] = []
    if config.getoption("fast"):
        config.option.markexpr = "not slow"
        sys.addaudithook(_refuse)


def _refuse(event: str, given: tuple[object, ...]) -> None:
    if _running and event in STARTS:
        pytest.skip("starts a process")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Processes are refused while a test is run and what it needs is made."""
    global _running
    _running = True
    try:
        return (yield)
    finally:
        _running = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measured without what it needs, which may be made for others too."""
    before = _spent()
    try:
        return (yield)
    finally:
        spent, slow = _spent() - before, item.get_closest_marker("slow") is not None
        if spent > SLOW and not slow:
            item.config.stash[_UNTRUE].append(f"{item.nodeid}: {spent:.1f} s, and not marked slow")
        if spent < SLOW / 4 and slow:
            item.config.stash[_UNTRUE].append(f"{item.nodeid}: {spent:.1f} s, and marked slow")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Seconds of the processor, which other programs lengthen little."""
    for line in config.stash[_UNTRUE]:
        terminalreporter.write_line(f"slow: {line}")


def _spent() -> float:
    """Seconds of the processor, of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
