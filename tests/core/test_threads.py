"""Threads are set for a time, and given back."""

from collections.abc import Iterator

import pytest
import torch

from pgb_core import session, threads


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Other tests keep theirs."""
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


def _fail(count: int) -> None:
    with threads.threads(count):
        raise ValueError("inside")


def test_by_default_they_are_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As affinity and control groups allow them."""
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    with threads.threads() as found:
        assert found == torch.get_num_threads() == 3


def test_sessions_take_the_same_number_and_do_not_spin() -> None:
    """Unless they are told another."""
    with threads.threads(3):
        options = session.session_options(torch.get_num_threads())
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
