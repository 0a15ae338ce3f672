"""Threads are set for a time, and given back."""

from collections.abc import Iterator

import pytest
import torch

from pgb_core import threads
from pgb_core.errors import ConfigError
from pgb_core.inference.runtimes.onnx_runtime import session_options


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other tests keep theirs. The machine has four processors."""
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 3])
def test_threads_are_set_and_restored(count: int) -> None:
    """Also after an error."""
    torch.set_num_threads(2)
    with threads.threads(count) as found:
        assert found == torch.get_num_threads() == count
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="inside"):
        _fail(count)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", [0, -1, 5, 999])
def test_more_threads_than_processors_are_refused(count: int) -> None:
    """They would wait for each other, and for everybody else on the machine."""
    with pytest.raises(ConfigError, match=rf"threads {count} is out of range; .* use 1 to 4"), threads.threads(count):
        pass


def _fail(count: int) -> None:
    with threads.threads(count):
        raise ValueError("inside")


def test_by_default_they_are_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As affinity and control groups allow them."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with threads.threads() as found:
        assert found == torch.get_num_threads() == 3


def test_sessions_take_the_same_number_and_do_not_spin() -> None:
    """Unless they are told another."""
    with threads.threads(3):
        options = session_options(torch.get_num_threads())
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("said", "found"),
    [("1", 1), (" 2 ", 2), ("1,4", 1), ("4096", 3), ("", 3), ("0", 3), ("-1", 3), ("many", 3), ("\u00b2", 3)],
)
def test_several_processes_may_share_the_cores(said: str, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OMP_NUM_THREADS may lower the number, as it does PyTorch's. What is no number says nothing."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    with threads.threads() as count:
        assert count == torch.get_num_threads() == found
        with threads.threads(4) as more:
            assert more == 4
