"""The law of admission, and fair turns."""

from hypothesis import assume, given
from hypothesis import strategies as st

from service.batching.admission import MARGIN, Backlog, Turns, promised, too_long

WORK = st.dictionaries(st.integers(0, 20), st.floats(0.001, 1000), max_size=15)
AMOUNT = st.floats(0.001, 1000)


def waiting(work: dict[int, float]) -> Backlog:
    """So much for each flow."""
    found = Backlog()
    for flow, amount in work.items():
        found.add(flow, amount)
    return found


@given(WORK, AMOUNT, st.floats(0.1, 100), st.integers(0, 20))
def test_whoever_asks_for_less_than_its_share_is_never_refused_because_of_others(
    work: dict[int, float], amount: float, bound: float, flow: int
) -> None:
    """The share of one of N flows is the bound, divided by N and by what estimates and overtaking may add."""
    backlog = waiting(work)
    flows = len(set(work) | {flow})
    assume(backlog.of(flow) + amount <= bound / (1.5 * MARGIN * flows))
    assert not too_long(backlog.ahead(flow, amount), 0.0, bound)


@given(WORK, AMOUNT, st.integers(0, 20))
def test_what_is_ahead_is_ones_own_work_and_of_others_as_much_as_fair_turns_give(
    work: dict[int, float], amount: float, flow: int
) -> None:
    """Told in the slow way."""
    own = work.get(flow, 0.0)
    slow = own + sum(min(theirs, own + amount) for other, theirs in work.items() if other != flow)
    assert abs(waiting(work).ahead(flow, amount) - slow) <= 1e-9 * max(1.0, slow)


def test_of_a_thousand_flows_the_most_that_each_can_have_ahead_counts() -> None:
    """They are not looked at one by one; and nobody waits for more than there is."""
    backlog = waiting({**dict.fromkeys(range(1000), 100.0), -1: 10.0})
    assert backlog.ahead(-1, 5.0) == 10.0 + 1000 * 15.0
    assert backlog.ahead(-1, 200.0) == backlog.total


@given(WORK, AMOUNT, AMOUNT, st.integers(0, 20))
def test_more_of_ones_own_is_never_sooner_done(work: dict[int, float], less: float, more: float, flow: int) -> None:
    """And nobody waits for more than there is."""
    backlog = waiting(work)
    less, more = sorted((less, more))
    assert backlog.ahead(flow, less) <= backlog.ahead(flow, more) + 1e-9 <= backlog.total + 2e-9


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.001, 100)), max_size=30))
def test_what_was_added_and_done_leaves_nothing(steps: list[tuple[int, float]]) -> None:
    """Neither amounts nor flows, however much was rounded."""
    backlog = Backlog()
    for flow, amount in steps:
        backlog.add(flow, amount)
    for flow, amount in reversed(steps):
        backlog.done(flow, amount)
    assert backlog.total == 0
    assert not backlog._of


def test_what_is_done_is_ahead_of_nobody() -> None:
    """And what is left of it still is."""
    backlog = waiting({1: 3.0, 2: 5.0})
    backlog.done(1, 1.0)
    assert (backlog.total, backlog.of(1), backlog.of(2)) == (7.0, 2.0, 5.0)
    backlog.done(1, 2.0)
    assert (backlog.total, backlog.of(1), backlog.of(2)) == (5.0, 0.0, 5.0)


@given(st.floats(0, 100, allow_subnormal=False), st.floats(0, 100, allow_subnormal=False))
def test_the_promise_is_at_most_twice_the_wait_and_at_least_half_more(wait: float, overtake: float) -> None:
    """Nobody is overtaken who waits for nothing."""
    assert 1.5 * wait <= promised(wait, overtake) <= 2 * wait


def test_the_promise_has_the_time_that_what_came_soon_after_may_take() -> None:
    """Which is a half of a long wait, and all of a short one."""
    assert [promised(wait, 1.0) for wait in (0.0, 0.5, 1.5, 8.0)] == [0.0, 1.0, 2.5, 12.0]


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=6))
def test_flows_that_are_always_here_are_served_alike(sizes: list[float]) -> None:
    """However large their pieces of work, to within the largest piece."""
    turns = Turns()
    for flow in range(len(sizes)):
        turns.come(flow)
    done = [0.0] * len(sizes)
    for _ in range(300):
        flow = min(range(len(sizes)), key=turns.served)
        turns.serve(flow, sizes[flow])
        done[flow] += sizes[flow]
    assert max(done) - min(done) <= max(sizes) + 1e-6


def test_an_endless_stream_of_newcomers_starves_nobody() -> None:
    """Each newcomer asks once; who came before them all still has its turn, again and again."""
    turns = Turns()
    turns.come("old")
    here: list[object] = ["old"]
    served = 0
    for n in range(300):
        turns.come(n)
        here.append(n)
        flow = min(reversed(here), key=turns.served)
        turns.serve(flow, 1.0)
        if flow == "old":
            served += 1
        else:
            turns.leave(flow)
            here.remove(flow)
    assert served > 15


def test_what_flows_leave_behind_is_forgotten() -> None:
    """A million connections that asked once do not fill the memory."""
    turns = Turns()
    for n in range(10_000):
        turns.come(n)
        turns.serve(n, 1.0)
        turns.leave(n)
    assert len(turns._served) < 200


def test_whoever_sends_more_while_it_waits_keeps_its_turn() -> None:
    """It was served less than the average, and is not put there."""
    turns = Turns()
    for flow in ("waits", "runs"):
        turns.come(flow)
    turns.serve("runs", 100.0)
    turns.come("waits")
    assert turns.served("waits") == 0


def test_whoever_had_more_than_its_share_is_remembered_while_it_is_away() -> None:
    """Though much is forgotten meanwhile: it would have its next turn at once."""
    turns = Turns()
    for flow in ("stays", "greedy"):
        turns.come(flow)
    turns.serve("greedy", 1000.0)
    turns.leave("greedy")
    for n in range(200):
        turns.come(n)
        turns.leave(n)
    turns.come("greedy")
    assert turns.served("greedy") == 1000.0
