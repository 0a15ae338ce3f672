"""The queue by itself: the caller says what time it is."""

from dataclasses import replace

import pytest

from service.batching.queue import Cost, Limits, Queue
from service.batching.waiting import Entry
from service.errors import DeadlineExceeded, Overloaded, Unavailable

LIMITS = Limits(batch_tokens=100, queue_tokens=1000, queue_seconds=2.0, overtake=0.1)


def filled(*sizes: int, limits: Limits = LIMITS, deadline: float = float("inf")) -> Queue[int]:
    """One request an input, all at instant 0, of 10 ms a token."""
    queue: Queue[int] = Queue(limits, Cost(0.0, 0.01))
    for n, size in enumerate(sizes):
        queue.admit([Entry(n, size, 0.0, n, deadline)], 0.0, body=4 * size)
    return queue


def wait(queue: Queue[int], now: float) -> float:
    """Seconds that are ahead of a request, as one hears that waits for all others and cannot wait."""
    try:
        queue.admit([Entry(-1, 10**6, now, "asks", now + 1e-9)], now)
    except Overloaded as error:
        return error.retry_after
    except DeadlineExceeded:  # it takes too long by itself, and nothing is ahead of it
        return 0.0
    raise AssertionError("it was admitted")


def test_the_wait_is_of_admitted_work_until_it_leaves() -> None:
    """Also while it runs, less what has passed of its run."""
    queue = filled(30, 30, 30)
    assert wait(queue, 0.0) == pytest.approx(0.9)
    batch, late = queue.take(0.0)
    assert (len(batch), late, queue.count, queue.tokens) == (3, [], 0, 0)
    assert wait(queue, 0.5) == pytest.approx(0.9 + 0.4)
    for entry in batch:
        queue.leave(entry.flow, entry.size)
    assert wait(queue, 0.9) == 0.0


def test_the_time_of_a_token_is_learnt_from_batches_that_are_not_small() -> None:
    """A tenth of the difference each time; at first it has its part of what starting a full batch takes."""
    assert Queue(LIMITS, Cost(0.5, 0.01)).seconds_per_token == pytest.approx(0.015)
    queue = filled()
    queue.learn(24, 100.0)
    assert queue.seconds_per_token == pytest.approx(0.01)
    queue.learn(25, 25 * 0.02)
    assert queue.seconds_per_token == pytest.approx(0.011)


def test_a_request_that_would_wait_too_long_is_refused_with_the_wait() -> None:
    """By the same rule before its body is read, when it is taken for a usual one."""
    queue = filled(100, 100)
    for refused in (lambda: queue.admit([Entry(9, 100, 0.0, "late")], 0.0), lambda: queue.check("late", 400, 0.0)):
        with pytest.raises(Overloaded) as error:
            refused()
        assert error.value.retry_after == pytest.approx(2.0)
    queue.check("late", 40, 0.0)  # a body of 40 bytes holds 10 tokens at most
    queue.check("late", 0, 0.0)  # and one whose size is not known may hold fewer
    assert queue.count == 2


def asked_beside_a_batch(flows: int, share: float) -> None:
    """As the last of so many flows, of which the others have much, for a part of what can be done in the time that one
    waits at most. Raises Overloaded."""
    cost = Cost(0.0, 2.0 / 10_000)
    limits = Limits(10**6, 10**9, 2.0, 0.29 * 2.0).sliced(cost)
    queue: Queue[int] = Queue(replace(limits, queue_seconds=1e6), cost)
    for flow in range(1, flows):
        queue.admit([Entry(n, 2_500, 0.0, flow) for n in range(4)], 0.0)
    assert sum(entry.size for entry in queue.take(0.0)[0]) == 2_500
    queue.limits = limits
    queue.admit([Entry(0, int(10_000 * share), 0.0, 0)], 0.0)


@pytest.mark.parametrize("flows", [2, 3, 10, 100])
def test_a_share_is_admitted_beside_a_batch_that_runs(flows: int) -> None:
    """Whatever the others have; it is less than beside no batch."""
    asked_beside_a_batch(flows, 1 / (3.1 * flows))
    if flows > 3:
        with pytest.raises(Overloaded):
            asked_beside_a_batch(flows, 1 / (1.73 * flows))


def test_what_is_usual_follows_slowly() -> None:
    """After one small request in many bytes, the next one is not taken for a small one."""
    queue = filled(100, 100)
    queue.admit([Entry(2, 1, 0.0, "small")], 0.0, body=1000)
    with pytest.raises(Overloaded):
        queue.check("late", 400, 0.0)


def test_a_byte_is_taken_for_a_quarter_of_a_token_at_most() -> None:
    """Windows that overlap made more of the bytes before."""
    queue = filled()
    for flow in range(2):
        queue.admit([Entry(flow, 100, 0.0, flow)], 0.0, body=50)
    queue.check("late", 40, 0.0)
    with pytest.raises(Overloaded):
        queue.check("late", 400, 0.0)


def test_a_lone_request_keeps_the_event_loop_for_a_hundredth_of_a_second_at_most() -> None:
    """By what starting it takes, and by its tokens."""
    queue: Queue[int] = Queue(LIMITS, Cost(0.004, 0.0001))
    assert [queue.brief(tokens) for tokens in (42, 43)] == [True, False]
    assert not Queue(LIMITS, Cost(0.01, 1e-9)).brief(1)


def test_announced_work_counts_until_its_inputs_are_ready() -> None:
    """Or until it is withdrawn, however often; what it waits for elsewhere counts as well."""
    queue = filled()
    announced = queue.announce("one", 40.0, float("inf"), 0.0)
    assert wait(queue, 0.0) == pytest.approx(0.4)
    queue.withdraw(announced)
    queue.admit([Entry(0, 30, 0.0, "one")], 0.0)
    assert wait(queue, 0.0) == pytest.approx(0.3)
    other = queue.announce("one", 20.0, float("inf"), 0.0)
    for _ in range(2):
        queue.withdraw(other)
        assert wait(queue, 0.0) == pytest.approx(0.3)
    with pytest.raises(Overloaded):
        filled().announce("one", 1.0, float("inf"), 0.0, before=5.0)


def test_what_is_too_late_is_taken_out_and_told() -> None:
    """And the batch that is returned has none of it."""
    queue = filled(10, 10, deadline=1.0)
    queue.admit([Entry(7, 10, 0.0, "patient")], 0.0)
    batch, late = queue.take(1.0)
    assert ([entry.item for entry in batch], sorted(entry.item for entry in late)) == ([7], [0, 1])
    with pytest.raises(DeadlineExceeded):
        queue.admit([Entry(8, 10, 1.0, "late", 1.0)], 1.0)


def test_what_waits_behind_a_batch_that_is_too_late_is_taken_at_once() -> None:
    """Nobody would ask for it before another request comes."""
    queue = filled(90, deadline=1.0)
    queue.admit([Entry(7, 90, 0.0, "patient")], 0.0)
    batch, late = queue.take(1.0)
    assert ([entry.item for entry in batch], [entry.item for entry in late]) == ([7], [0])
    assert queue.take(1.0) == ([], [])


def test_where_nothing_waits_only_its_own_time_counts() -> None:
    """A request of any size is admitted, unless it must take longer than its deadline allows, beyond doubt."""
    filled().admit([Entry(0, 2000, 0.0, "large")], 0.0)
    filled().admit([Entry(0, 100, 0.0, "hurried", 0.7)], 0.0)
    with pytest.raises(DeadlineExceeded, match="fewer at a time"):
        filled().admit([Entry(0, 100, 0.0, "hurried", 0.6)], 0.0)


def test_a_closed_queue_takes_nothing() -> None:
    """Whatever waits is still taken."""
    queue = filled(10)
    queue.closed = True
    with pytest.raises(Unavailable):
        queue.check("any", 0, 0.0)
    assert len(queue.take(0.0)[0]) == 1


@pytest.mark.parametrize(("per_token", "most"), [(1e-6, 100), (0.01, 50), (10.0, 1)])
def test_a_batch_takes_at_most_a_quarter_of_the_longest_wait(per_token: float, most: int) -> None:
    """At least one token, and never more than the setting."""
    assert LIMITS.sliced(Cost(0.0, per_token)).batch_tokens == most
