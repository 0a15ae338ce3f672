"""The batcher, with callables in place of models."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from service.batching.batcher import Batcher, Cost, Limits
from service.batching.queue import Queue
from service.errors import DeadlineExceeded, InputRejected, Overloaded, RuntimeFailed, Unavailable
from service.observe.metrics import clock
from tests.service.faults import Full, Panic


class Gate:
    """A runtime that records its batches and waits until it is opened."""

    def __init__(self, opened: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[threading.Thread] = []
        self.started = threading.Event()
        self.open = threading.Event()
        if opened:
            self.open.set()

    def __call__(self, items: Sequence[str]) -> list[str]:
        """Upper-cases; fails on 'bad' and 'panic'."""
        self.batches.append(list(items))
        self.threads.append(threading.current_thread())
        self.started.set()
        assert self.open.wait(5)
        if "bad" in items:
            raise RuntimeError("boom")
        if "panic" in items:
            raise Panic("boom")
        return [item.upper() for item in items]


QUICK = Cost(1e-3, 1e-6)
SLOW = Cost(1.0, 1e-3)
LARGE = 10_000  # bytes: more than any of these requests has


class Ledger:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, bool]] = []
        self.dropped: list[tuple[str, int, int]] = []

    def batch(self, size: int, tokens: int, started: float, finished: float, error: BaseException | None) -> object:
        """One mark for all."""
        self.batches.append((size, tokens, error is not None))
        return "mark"

    def saved(self, reason: str, inputs: int, tokens: int, seconds: float) -> None:
        """Seconds are an estimate."""
        assert seconds > 0
        self.dropped.append((reason, inputs, tokens))


def batcher(
    gate: Gate,
    tokens: int = 12,
    queue: int = 1000,
    ledger: Ledger | None = None,
    seconds: float = 1e3,
    cost: Cost = QUICK,
) -> Batcher[str, str]:
    """One token a character, and starting a batch costs as much as 1000 of them."""
    return Batcher(gate, len, Limits(tokens, queue, seconds, 10.0), cost, ledger)


async def started(gate: Gate) -> None:
    """Until the first batch runs."""
    await asyncio.to_thread(gate.started.wait, 5)


def test_a_lone_request_goes_straight_through() -> None:
    """One item, one batch, its own result."""

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate)
        (ran,) = await queue.submit(["abc"])
        assert (ran.result, ran.batch_size, ran.batch_tokens) == ("ABC", 1, 3)
        assert ran.finished >= ran.started
        await queue.close()

    asyncio.run(scenario())


def test_only_what_is_alone_and_brief_runs_where_it_is_submitted() -> None:
    """Anything else leaves the event loop free, and the two never run at once."""

    async def scenario() -> None:
        here = threading.current_thread()
        gate, slow = Gate(), Gate()
        queue, long = batcher(gate), batcher(slow, cost=SLOW)
        (first, second) = await queue.submit(["abc", "d" * 12], alone=True)
        assert (first.result, second.result) == ("ABC", "D" * 12)
        assert (first.batch_size, second.batch_size) == (1, 1)  # the budget of a batch holds here, too
        assert gate.threads == [here, here]
        await queue.submit(["abc"])
        await long.submit(["abc"], alone=True)
        assert here not in (gate.threads[2], slow.threads[0])
        gate.open.clear()
        gate.started.clear()
        running = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        waiting = asyncio.create_task(queue.submit(["abc"], alone=True))
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(running, waiting)
        assert gate.threads[3] is gate.threads[4] is gate.threads[2]
        await queue.close()
        await long.close()

    asyncio.run(scenario())


def test_what_fails_where_it_is_submitted_is_answered_like_any_other() -> None:
    """And the next one runs."""

    async def scenario() -> None:
        gate, ledger = Gate(), Ledger()
        queue = batcher(gate, ledger=ledger)
        with pytest.raises(RuntimeFailed):
            await queue.submit(["ok", "bad"], alone=True)
        with pytest.raises(DeadlineExceeded):
            await queue.submit(["late"], clock() - 1, alone=True)
        assert (await queue.submit(["fine"], alone=True))[0].result == "FINE"
        assert (await queue.submit(["fine"]))[0].result == "FINE"
        assert ledger.batches == [(2, 6, True), (1, 2, False), (1, 3, True), (1, 4, False), (1, 4, False)]
        assert queue.waiting_inputs == 0
        await queue.close()

    asyncio.run(scenario())


def test_a_body_is_not_read_when_a_request_of_the_usual_size_would_be_refused() -> None:
    """A smaller one is still admitted by whoever asks for it, and what was refused does not count as usual."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, queue=62)
        first = asyncio.create_task(queue.submit(["go"], body=8))
        await started(gate)
        rest = [asyncio.create_task(queue.submit(["f" * 9], body=36)) for _ in range(6)]
        await asyncio.sleep(0)
        queue.check(body=LARGE)
        with pytest.raises(Overloaded):
            await queue.submit(["g" * 7])
        for _ in range(40):
            with pytest.raises(Overloaded):
                await queue.submit(["h" * 90])
        queue.check(body=LARGE)
        last = asyncio.create_task(queue.submit(["abcd"]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            queue.check(body=LARGE)
        queue.check()  # of an unknown size
        gate.open.set()
        await asyncio.gather(first, last, *rest)
        queue.check(body=LARGE)
        await queue.close()

    asyncio.run(scenario())


def test_what_waits_is_batched_within_the_budget_and_answers_go_to_their_askers() -> None:
    """Padding counts, and the batch that ran says how large it was."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        items = ["aaaa", "bbbbbbbbbb", "cccc", "dddddddddd", "eeee", "f" * 20]
        rest = [asyncio.create_task(queue.submit([item])) for item in items]
        await asyncio.sleep(0)
        gate.open.set()
        found = [(await task)[0].result for task in rest]
        assert found == [item.upper() for item in items]
        assert gate.batches[1] == ["aaaa", "cccc", "eeee"]
        assert all(len(b) * max(map(len, b)) <= 12 or len(b) == 1 for b in gate.batches)
        await first
        await queue.close()

    asyncio.run(scenario())


def test_an_input_that_fails_in_company_fails_nobody_else() -> None:
    """A failed batch is run again one by one; the reason is not shown to the client, and the next batch runs."""

    async def scenario() -> None:
        gate, ledger = Gate(opened=False), Ledger()
        queue = batcher(gate, ledger=ledger)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        tasks = [asyncio.create_task(queue.submit([item])) for item in ("ok", "bad", "fine")]
        await asyncio.sleep(0)
        gate.open.set()
        good, bad, fine = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(bad, RuntimeFailed)
        assert "boom" not in str(bad)
        assert not isinstance(good, BaseException)
        assert not isinstance(fine, BaseException)
        assert (good[0].result, fine[0].result) == ("OK", "FINE")
        assert queue.failures == 0
        assert (3, 12, True) in ledger.batches
        await first
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), RuntimeFailed),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeFailed),
        (RuntimeError("indices element out of data bounds"), InputRejected),
    ],
)
def test_an_input_is_at_fault_unless_memory_ran_out(error: Exception, told: type[Exception]) -> None:
    """Where the model's own check passes; the model counts as well in either case."""

    def fails(items: Sequence[str]) -> Sequence[str]:
        raise error

    async def scenario() -> None:
        queue = Batcher(fails, len, Limits(12, 1000, 1e3, 10.0), QUICK, check=lambda: True)
        with pytest.raises(told):
            await queue.submit(["abc"])
        assert queue.failures == 0
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("pause", "told"), [(-1.0, [InputRejected, RuntimeFailed]), (60.0, [InputRejected] * 2)])
def test_a_model_whose_inputs_fail_is_checked_at_most_once_a_pause(
    pause: float, told: list[type[Exception]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends such inputs must not have it run its check all the time; what a check found counts until the next."""
    monkeypatch.setattr("service.batching.batcher._CHECK_SECONDS", pause)
    found = iter([True, False])

    async def scenario() -> None:
        queue = Batcher(Gate(), len, Limits(12, 1000, 1e3, 10.0), QUICK, check=lambda: next(found))
        for kind in told:
            with pytest.raises(kind):
                await queue.submit(["bad"])
        await queue.close()

    asyncio.run(scenario())


def test_failures_are_counted_until_a_batch_goes_well() -> None:
    """What turns ready to 503, and back; the thread lives on, whatever was raised."""

    async def scenario() -> None:
        queue = batcher(Gate())
        for times, item in enumerate(("bad", "panic", "bad"), 1):
            with pytest.raises(RuntimeFailed):
                await queue.submit([item], clock() + 5)
            assert queue.failures == times
        await queue.submit(["ok"])
        assert queue.failures == 0
        await queue.close()

    asyncio.run(scenario())


def test_where_no_thread_starts_a_job_is_refused_whole_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was announced for the refused job counts no more."""
    system = Full(monkeypatch)

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate)
        announced = queue.announce("a", 3.0, clock() + 5)
        with pytest.raises(Unavailable, match="thread"):
            await queue.submit(["abc"], announced=announced)
        assert (queue.waiting_inputs, announced.tokens) == (0, 0.0)
        system.full = False
        (ran,) = await queue.submit(["def"], clock() + 5)
        assert (ran.result, gate.batches) == ("DEF", [["def"]])
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("alone", [True, False])
def test_inputs_of_no_tokens_run_like_others(alone: bool) -> None:
    """Beside others and by themselves."""

    async def scenario() -> None:
        queue = batcher(Gate())
        for items in (["", ""], ["", "abc", ""], ["abc"]):
            found = await queue.submit(items, clock() + 5, alone=alone)
            assert [ran.result for ran in found] == [item.upper() for item in items]
        await queue.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("alone", "error"), [(True, RuntimeError("boom")), (False, RuntimeError("boom")), (False, SystemExit("boom"))]
)
def test_if_the_choice_of_batches_breaks_who_waits_is_told_and_the_next_one_is_answered(
    alone: bool, error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a failed model, and long before the deadline; the log has the reason."""
    take = Queue.take
    broken = True

    def breaks(queue: Queue[object], now: float) -> object:
        if broken and queue.count > 1:
            queue._waiting.take(now)  # as far as it comes
            raise error
        return take(queue, now)

    monkeypatch.setattr(Queue, "take", breaks)

    async def scenario() -> None:
        nonlocal broken
        queue = batcher(Gate())
        begun = clock()
        with pytest.raises(RuntimeFailed):
            await queue.submit(["abc", "d" * 12, "e" * 12], clock() + 20, alone=alone)
        assert clock() - begun < 10
        assert (queue.failures, queue.waiting_inputs, queue.overdue(0.0)) == (1, 0, False)
        broken = False
        found = await queue.submit(["abc", "def"], clock() + 5)
        assert [ran.result for ran in found] == ["ABC", "DEF"]
        assert queue.failures == 0
        await queue.close()

    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records if record.name == "pgb"] == ["unexpected"]


def test_a_deadline_takes_waiting_work_out_of_line() -> None:
    """The waiter hears of it in time, nothing of it runs, and the compute saved is told."""

    async def scenario() -> None:
        gate, ledger = Gate(opened=False), Ledger()
        queue = batcher(gate, ledger=ledger)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        second = asyncio.create_task(queue.submit(["stay"]))
        await asyncio.sleep(0)
        begun = clock()
        with pytest.raises(DeadlineExceeded):
            await queue.submit(["late", "too"], clock() + 0.05)
        assert clock() - begun < 2
        gate.open.set()
        await asyncio.gather(first, second)
        assert [item for batch in gate.batches for item in batch] == ["go", "stay"]
        assert ledger.dropped == [("deadline", 2, 7)]
        await queue.close()

    asyncio.run(scenario())


def test_a_request_that_cannot_be_in_time_is_refused_at_once() -> None:
    """When the estimated wait is longer than its deadline, it does not join the queue."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, tokens=1, cost=SLOW)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        second = asyncio.create_task(queue.submit(["x" * 100]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="longer than the request"):
            await queue.submit(["y"], clock() + 1)
        gate.open.set()
        await asyncio.gather(first, second)
        await queue.close()

    asyncio.run(scenario())


def test_admission_is_bounded_in_estimated_seconds() -> None:
    """Past the bound a request is refused, however few tokens it has."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, tokens=1000, seconds=0.15, cost=SLOW)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        second = asyncio.create_task(queue.submit(["x" * 100]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await queue.submit(["y"])
        assert refused.value.retry_after == pytest.approx(0.2, rel=0.2)
        gate.open.set()
        await asyncio.gather(first, second)
        await queue.close()

    asyncio.run(scenario())


def test_the_bound_in_seconds_follows_what_batches_take() -> None:
    """What would have been refused by the time that was measured at first is admitted once batches were quick."""

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate, tokens=1000, seconds=0.15, cost=SLOW)
        for _ in range(40):
            await queue.submit(["x" * 300])
        gate.open.clear()
        gate.started.clear()
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        rest = [asyncio.create_task(queue.submit([text])) for text in ("x" * 100, "y")]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *rest)
        await queue.close()

    asyncio.run(scenario())


def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    """Refusal says when to come back, and nothing of the refused request runs."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate, queue=10)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        second = asyncio.create_task(queue.submit(["eight..."]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await queue.submit(["x", "yyyy"])
        assert refused.value.retry_after > 0
        gate.open.set()
        await asyncio.gather(first, second)
        assert [item for batch in gate.batches for item in batch] == ["go", "eight..."]
        await queue.close()

    asyncio.run(scenario())


def test_what_was_answered_is_ahead_of_nobody() -> None:
    """However much it was."""

    async def scenario() -> None:
        gate = Gate()
        queue = batcher(gate, queue=20)
        for _ in range(5):
            await queue.submit(["x" * 12])
        gate.open.clear()
        gate.started.clear()
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        rest = [asyncio.create_task(queue.submit([text])) for text in ("waits", "too")]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(first, *rest)
        await queue.close()

    asyncio.run(scenario())


def test_work_of_a_client_that_left_does_not_run() -> None:
    """Cancelling takes what still waits out of the queue."""

    async def scenario() -> None:
        gate, ledger = Gate(opened=False), Ledger()
        queue = batcher(gate, ledger=ledger)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        gone = asyncio.create_task(queue.submit(["gone", "too"]))
        stays = asyncio.create_task(queue.submit(["stay"]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        gate.open.set()
        await asyncio.gather(first, stays)
        assert [item for batch in gate.batches for item in batch] == ["go", "stay"]
        assert ledger.dropped == [("disconnect", 2, 7)]
        await queue.close()

    asyncio.run(scenario())


def test_when_an_input_fails_the_others_of_its_request_need_not_run() -> None:
    """Those that still wait leave the queue, and the compute saved is told."""

    async def scenario() -> None:
        gate, ledger, go = Gate(opened=False), Ledger(), threading.Event()

        def run(items: Sequence[str]) -> Sequence[str]:
            done = gate(items)
            assert "slow" not in items or go.wait(5)
            return done

        queue = Batcher(run, len, Limits(12, 1000, 1e3, 10.0), QUICK, ledger)
        first = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        fails = asyncio.create_task(queue.submit(["bad", "z" * 12], flow="a"))
        other = asyncio.create_task(queue.submit(["slow"], flow="b"))
        await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(RuntimeFailed):
            await fails
        go.set()
        await asyncio.gather(first, other)
        assert ledger.dropped == [("failure", 1, 12)]
        assert gate.batches == [["go"], ["bad", "slow"], ["bad"], ["slow"]]
        await queue.close()

    asyncio.run(scenario())


def test_a_batch_that_does_not_end_is_told() -> None:
    """While it runs, its repeats included; and no longer once it has ended."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        running = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        assert queue.overdue(0.0)
        assert not queue.overdue(60.0)
        gate.open.set()
        await running
        await queue.close()
        assert not queue.overdue(0.0)

    asyncio.run(scenario())


def test_closing_stops_what_does_not_end() -> None:
    """Once it has run for too long; what was stopped is not run again in parts."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        with pytest.raises(DeadlineExceeded):
            await queue.submit(["bad", "one"], clock() + 0.1)
        assert await asyncio.wait_for(queue.close(0.2, gate.open.set), 4)
        assert gate.batches == [["bad", "one"]]

    asyncio.run(scenario())


def test_closing_leaves_what_cannot_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes is told, and does not wait for ever; the observer, which has gone on, hears no more of it."""
    monkeypatch.setattr("service.batching.batcher._STOP_SECONDS", 0.1)

    async def scenario() -> None:
        gate, ledger = Gate(opened=False), Ledger()
        queue = batcher(gate, ledger=ledger)
        running = asyncio.create_task(queue.submit(["go"]))
        await started(gate)
        assert not await asyncio.wait_for(queue.close(0.1), 4)
        gate.open.set()
        assert (await running)[0].result == "GO"
        assert ledger.batches == []

    asyncio.run(scenario())


def test_closing_finishes_what_waits_and_refuses_the_rest() -> None:
    """Nothing accepted is lost."""

    async def scenario() -> None:
        gate = Gate(opened=False)
        queue = batcher(gate)
        tasks = [asyncio.create_task(queue.submit([item])) for item in ("one", "two", "three")]
        await started(gate)
        closing = asyncio.create_task(queue.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await queue.submit(["late"])
        gate.open.set()
        await closing
        assert [(await t)[0].result for t in tasks] == ["ONE", "TWO", "THREE"]

    asyncio.run(scenario())
