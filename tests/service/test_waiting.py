"""Which waiting inputs make a batch."""

import weakref
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batching.waiting import Entry, Waiting

SIZES = st.lists(st.integers(0, 512), min_size=1, max_size=60)


def filled(sizes: list[int], budget: int, launch: float, overtake: float = 1e9, begin: float = 0.0) -> Waiting[int]:
    """One entry a second from `begin` on, in this order."""
    waiting: Waiting[int] = Waiting(budget, launch, overtake)
    for n, size in enumerate(sizes):
        waiting.add(Entry(n, size, begin + n))
    return waiting


@given(SIZES, st.integers(1, 2048), st.floats(0, 1000))
def test_every_entry_is_taken_once_and_the_oldest_is_in_every_batch(
    sizes: list[int], budget: int, launch: float
) -> None:
    """Nothing starves, nothing is lost, nothing runs twice."""
    waiting = filled(sizes, budget, launch)
    taken: list[int] = []
    while batch := waiting.take(1e6):
        left = set(range(len(sizes))) - set(taken)
        assert batch[0].item == min(left)
        taken += [entry.item for entry in batch]
        assert waiting.count == len(sizes) - len(taken)
        assert waiting.tokens == sum(sizes[n] for n in set(range(len(sizes))) - set(taken))
    assert sorted(taken) == list(range(len(sizes)))


@given(SIZES, st.integers(1, 2048), st.floats(0, 1000))
def test_a_batch_stays_within_its_budget_and_pads_little(sizes: list[int], budget: int, launch: float) -> None:
    """Padded tokens count; each that joins adds no more padding than its share of starting the batch."""
    waiting = filled(sizes, budget, launch)
    while batch := waiting.take(1e6):
        width = max(entry.size for entry in batch)
        assert len(batch) == 1 or width * len(batch) <= budget
        shares = sum(launch / count for count in range(1, len(batch)))
        assert width * len(batch) - sum(entry.size for entry in batch) <= shares + 1e-6


def test_the_larger_a_batch_the_nearer_must_lengths_be() -> None:
    """Starting it costs 12 tokens: the second may add 12 of padding, the third 6, the fourth 4."""
    assert [e.size for e in filled([20, 8, 7], 1000, 12).take(1e6)] == [20, 8]
    assert [e.size for e in filled([20, 20, 14, 13], 1000, 12).take(1e6)] == [20, 20, 14]
    assert [e.size for e in filled([20, 20, 20, 16, 15], 1000, 12).take(1e6)] == [20, 20, 20, 16]


def test_the_nearest_length_joins_first_whenever_it_came() -> None:
    """So that little of a batch is padding."""
    for sizes in ([20, 5, 19], [20, 30, 19]):
        assert [e.size for e in filled(sizes, 60, 1000).take(1e6)][:2] == [20, 19]


def test_equal_lengths_fill_the_budget() -> None:
    """In order of arrival."""
    waiting = filled([10, 200, 10, 10, 10], 30, 5)
    assert [[e.item for e in waiting.take(1e6)] for _ in range(3)] == [[0, 2, 3], [1], [4]]


@given(SIZES, st.integers(1, 2048), st.floats(0, 1000), st.floats(0, 100), st.floats(60, 1000))
def test_an_entry_is_overtaken_only_by_what_came_soon_after_it(
    sizes: list[int], budget: int, launch: float, overtake: float, now: float
) -> None:
    """Whoever is taken while another waits is at most `overtake` younger, or a third of what that one has waited."""
    waiting = filled(sizes, budget, launch, overtake)
    while batch := waiting.take(now):
        oldest = batch[0].queued
        assert all(entry.queued <= oldest + max(overtake, (now - oldest) / 3) for entry in batch)


def test_what_came_much_later_does_not_join() -> None:
    """Though it would fit: after 6 seconds the first is joined by what came until 2, or until 3 where that is let."""
    for overtake, first in ((0.0, [0, 1, 2]), (3.0, [0, 1, 2, 3])):
        waiting = filled([10, 10, 10, 10], 1000, 1000, overtake, begin=100.0)
        assert [e.item for e in waiting.take(106.0)] == first


def test_a_large_request_is_cut_into_slices_between_which_others_get_their_turn() -> None:
    """Who comes after a hundred long inputs of somebody else is in the next batch but one."""
    waiting: Waiting[str] = Waiting(100, 10, 1e9)
    for n in range(100):
        waiting.add(Entry(f"large {n}", 50, 0.0, "large"))
    assert [e.flow for e in waiting.take(0.0)] == ["large", "large"]
    waiting.add(Entry("small", 5, 1.0, "small"))
    assert [waiting.take(2.0)[0].flow for _ in range(3)] == ["large", "small", "large"]


def test_once_a_batch_is_full_no_other_flow_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand connections wait with one input each, and ten of these fill a batch."""
    waiting: Waiting[int] = Waiting(80, 40, 1e9)
    for n in range(1000):
        waiting.add(Entry(n, 8, n, flow=n))
    looked_at: list[object] = []

    def noted(entries: Iterable[Entry[int]], most: int) -> Iterator[Entry[int]]:
        looked_at.append(entries)
        return islice(entries, most)

    monkeypatch.setattr("service.batching.waiting.islice", noted)
    assert len(waiting.take(1e6)) == 10
    assert len(looked_at) <= 10


def test_flows_that_always_wait_get_equal_shares() -> None:
    """In tokens, whatever the lengths of their inputs, to within a batch."""
    waiting: Waiting[int] = Waiting(100, 10, 1e9)
    lengths = {"a": 7, "b": 50, "c": 99}
    for flow, size in lengths.items():
        for n in range(2000 // size + 1):
            waiting.add(Entry(n, size, 0.0, flow))
    done = dict.fromkeys(lengths, 0)
    while sum(done.values()) < 3000:
        for entry in waiting.take(1.0):
            done[str(entry.flow)] += entry.size
    assert max(done.values()) - min(done.values()) <= 200


def test_no_flow_gets_more_than_a_batch_ahead_of_the_one_whose_turn_it_is() -> None:
    """Though its inputs would fit."""
    waiting: Waiting[int] = Waiting(10, 0, 1e9)
    waiting.add(*(Entry(n, 1, 1.0, "many") for n in range(30)))
    waiting.add(*(Entry(n, 1, 0.0, "few") for n in range(3)))
    assert [[entry.flow for entry in waiting.take(2.0)].count("many") for _ in range(2)] == [9, 2]


def test_nobody_saves_up_turns_by_staying_away() -> None:
    """Who comes back after a thousand batches of others is no further ahead than who was here."""
    waiting: Waiting[int] = Waiting(10, 1, 1e9)
    waiting.add(Entry(0, 10, 0.0, "seldom"))
    waiting.take(0.0)
    for n in range(1000):
        waiting.add(Entry(n, 10, 1.0, "often"))
        waiting.take(1.0)
    for n in range(10):
        waiting.add(Entry(n, 10, 2.0, "seldom"))
        waiting.add(Entry(n, 10, 2.0, "often"))
    taken = [waiting.take(3.0)[0].flow for _ in range(10)]
    assert abs(taken.count("seldom") - 5) <= 1


@given(SIZES, st.data())
def test_what_was_discarded_is_never_taken(sizes: list[int], data: st.DataObject) -> None:
    """And the count of tokens follows."""
    waiting: Waiting[int] = Waiting(512, 100, 1e9)
    entries = [Entry(n, size, float(n)) for n, size in enumerate(sizes)]
    for entry in entries:
        waiting.add(entry)
    gone = {entry.item for entry in entries if data.draw(st.booleans()) and waiting.discard(entry)}
    assert not any(waiting.discard(entries[n]) for n in gone)
    assert waiting.tokens == sum(size for n, size in enumerate(sizes) if n not in gone)
    taken = [entry.item for batch in iter(lambda: waiting.take(1e6), []) for entry in batch]
    assert sorted(taken) == sorted(set(range(len(sizes))) - gone)


def test_what_left_is_held_no_longer() -> None:
    """Inputs that went away before their turn are let go at once, though no batch came near their length."""
    waiting: Waiting[int] = Waiting(20, 1, 1e9)
    gone = []
    for n in range(200):
        waiting.add(Entry(n, 10, 0.0, "stays"))
        gone.append(Entry(n, 400, 0.0, n))
        waiting.add(gone[-1])
    watched = [weakref.ref(entry) for entry in gone]
    for entry in gone:
        waiting.discard(entry)
    del gone, entry
    assert waiting.take(1.0)
    assert not any(ref() for ref in watched)
