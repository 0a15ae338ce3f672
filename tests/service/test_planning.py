"""The capacity planner: its arithmetic, its arrivals, and that it simulates what the service does."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import math
import multiprocessing
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.errors import ConfigError, DataError
from service.batching.batcher import Batcher
from service.batching.queue import Limits
from service.observe import logs
from service.observe.logs import LOGGER, JsonFormatter
from service.observe.metrics import Call, Stamps
from service.planning import __main__ as command
from service.planning import batches, overhead
from service.planning.arrivals import Arrival, Burst, Drawn, Load, Mix
from service.planning.batches import grid
from service.planning.flags import weights
from service.planning.fleet import BALANCES, LEAST_CONNECTIONS, ROUND_ROBIN, Balance, Goal, Outcome, simulate
from service.planning.measure import measure
from service.planning.process import Replica
from service.planning.profile import Overhead, Point, Profile, Size, Times
from service.planning.search import MOST_PROCESSES, Conditions, alone, fewest, forecast
from service.planning.trace import Served, Trace
from service.settings import Settings, read_settings

FREE = Overhead(per_request=0, per_input=0, per_token=0)
LIMITS = Limits(batch_tokens=64, queue_tokens=100_000, queue_seconds=2.0, overtake=0.1)


def replica(
    points: Sequence[tuple[int, int, float]],
    overhead: Overhead = FREE,
    threads: int = 1,
    limits: Limits = LIMITS,
    spread: Sequence[float] = (1.0,),
) -> Replica:
    """One process whose batches of (rows, tokens) take so many seconds."""
    measured = [Point(rows=rows, tokens=tokens, seconds=seconds) for rows, tokens, seconds in points]
    return Replica(Size(workers=1, threads=threads, points=measured, spread=list(spread)), overhead, limits, 60.0, 512)


# A batch takes 2 ms, and 0.1 ms for each of its tokens.
PLAIN = replica([(rows, tokens, 0.002 + rows * tokens * 1e-4) for tokens in (8, 64) for rows in (1, 8)])
ONE_LENGTH = Mix({(16,): 1.0}, {1: 1.0}, 8)


def ran(one: Replica, *arrivals: tuple[float, int], replicas: int = 1) -> Outcome:
    """One client sends an input of so many tokens at each instant."""
    load = Load(iter([Arrival(at, (length,)) for at, length in arrivals]), -math.inf, len(arrivals))
    return simulate(one, replicas, ROUND_ROBIN, load, 0)


def test_times_are_those_measured_and_linear_between_and_beyond() -> None:
    """In rows, and then in tokens."""
    times = Times([Point(rows=r, tokens=t, seconds=r * 1.0 + t * 0.1) for r in (1, 4) for t in (10, 20)])
    for rows, tokens in ((1, 10), (4, 20), (2, 15), (8, 10), (1, 40)):
        assert times.seconds(rows, tokens) == pytest.approx(rows + tokens * 0.1)
    assert Times([Point(rows=2, tokens=8, seconds=1.0)]).seconds(4, 8) == pytest.approx(2.0)


def test_the_grid_has_the_largest_batch_of_every_length() -> None:
    """And the model's own length, whatever it is."""
    found = grid(100, 256)
    assert {tokens for _, tokens in found} == {8, 16, 32, 64, 100}
    assert {(32, 8), (1, 8), (4, 64), (2, 100), (1, 100)} <= set(found)
    assert all(rows * tokens <= 256 or rows == 1 for rows, tokens in found)


def test_a_lone_request_takes_its_overhead_and_its_batch() -> None:
    """And nothing else."""
    one = replica([(1, 8, 0.02), (1, 16, 0.04)], Overhead(per_request=0.001, per_input=0.002, per_token=0.001))
    assert ran(one, (0.0, 16)).latencies == pytest.approx([0.001 + 0.002 + 0.016 + 0.04])


def test_reading_and_a_batch_that_runs_share_the_cores() -> None:
    """On one core each goes at half of its speed while both have work, and no work is lost."""
    one = replica([(1, 8, 1.0), (1, 16, 1.0)], Overhead(per_request=0.1, per_input=0, per_token=0))
    # The first is read until 0.1 and runs. The second is read from 0.5 to 0.7. The first ends at 1.1 + 0.1.
    assert ran(one, (0.0, 8), (0.5, 8)).latencies == pytest.approx([1.2, 1.7])
    two = replica([(1, 8, 1.0), (1, 16, 1.0)], Overhead(per_request=0.1, per_input=0, per_token=0), threads=2)
    assert ran(two, (0.0, 8), (0.5, 8)).latencies[0] == pytest.approx(1.15)


def test_one_queue_waits_as_theory_says() -> None:
    """Poisson arrivals, one input a batch, always the same time: M/D/1 waits s r / (2 (1 - r)) on average."""
    single = replica([(1, 16, 0.01), (2, 16, 0.02)], limits=replace(LIMITS, batch_tokens=16))
    for used in (0.5, 0.8):
        given = Conditions(Drawn(ONE_LENGTH, used / 0.01), ROUND_ROBIN, 12_000, 1)
        found = forecast(single, 1, given).outcome
        mean = sum(found.latencies) / len(found.latencies)
        assert mean == pytest.approx(0.01 * (1 + used / (2 * (1 - used))), rel=0.08)
        assert found.model == pytest.approx(used, rel=0.03)
        assert found.refused == 0


def test_the_simulation_makes_the_batches_that_the_service_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same requests, all there when the first batch ends, run together in the same way."""
    draw = random.Random(3)  # noqa: S311 - no secret
    requests = [(draw.randint(1, 60), f"client {draw.randint(0, 3)}") for _ in range(60)]
    limits = Limits(64, 100_000, 1e6, 1e6)
    real: list[tuple[int, int]] = []

    async def served() -> None:
        async def ask(length: int, client: str) -> None:
            await batcher.submit([length], flow=client)

        def run(items: Sequence[int]) -> list[int]:
            real.append((len(items), max(items)))
            return list(items)

        batcher: Batcher[int, int] = Batcher(run, lambda length: length, limits, cost)
        with batcher._changed:  # no batch is taken before all have come
            waiting = [asyncio.ensure_future(ask(*request)) for request in requests]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        await batcher.close()

    one = replica([(1, 8, 0.1), (8, 8, 0.2), (1, 64, 0.2), (8, 64, 0.9)], limits=limits)
    cost = one.size.times.cost(one.max_length)
    asyncio.run(served())
    simulated: list[tuple[int, int]] = []
    seconds = Times.seconds

    def recorded(times: Times, rows: int, tokens: int) -> float:
        simulated.append((rows, tokens))
        return seconds(times, rows, tokens)

    monkeypatch.setattr(Times, "cost", lambda times, length: cost)
    monkeypatch.setattr(Times, "seconds", recorded)
    first = Arrival(0.0, (7,), "other")  # it runs while the others come
    others = (Arrival(1e-4 * n, (length,), client) for n, (length, client) in enumerate(requests, 1))
    load = Load(iter([first, *others]), -math.inf, 61)
    assert len(simulate(one, 1, ROUND_ROBIN, load, 0).latencies) == 61
    assert simulated[0] == (1, 7)
    assert simulated[1:] == real
    assert len(real) < 60


@pytest.mark.parametrize("balance", BALANCES)
def test_every_request_is_answered_or_refused_and_work_is_conserved(balance: Balance) -> None:
    """At twice what two replicas can do, about half is refused and the wait stays within its bound."""
    one = replica([(1, 16, 0.01), (2, 16, 0.02)], limits=replace(LIMITS, batch_tokens=16, queue_seconds=0.2))
    load = Drawn(ONE_LENGTH, 400.0).load(1.0, 6_000, 0)
    arrivals = list(load.arrivals)
    found = simulate(one, 2, balance, Load(iter(arrivals), -math.inf, len(arrivals)), 0)
    assert found.requests == len(arrivals)
    assert found.refused_share == pytest.approx(0.5, abs=0.03)
    assert found.model == pytest.approx(1.0, abs=0.02)
    assert found.model * found.seconds * 2 == pytest.approx(0.01 * len(found.latencies))
    assert found.latencies[-1] < 0.25


def test_a_request_that_waits_for_too_long_counts_as_refused() -> None:
    """After max_request_seconds, whether it still waits, and is then not run, or runs."""
    points = [(1, 8, 1.0), (1, 16, 2.0)]
    one = replica(
        points, limits=replace(LIMITS, batch_tokens=8, queue_seconds=60.0), spread=[3.0]
    )  # slower than it seems
    for patience, latencies in ((2.5, []), (3.5, [3.0]), (6.5, [3.0, 5.9])):
        found = ran(replace(one, request_seconds=patience), (0.0, 8), (0.1, 8))
        assert found.latencies == pytest.approx(latencies)
        assert found.refused == 2 - len(latencies)
    assert ran(one, (0.0, 8), (0.1, 8)).latencies == pytest.approx([3.0, 5.9])


def test_the_same_seed_gives_the_same_figures() -> None:
    """And another one does not."""
    one = replace(PLAIN, size=PLAIN.size.model_copy(update={"spread": [0.9, 1.0, 1.2]}))
    found = [forecast(one, 2, Conditions(Drawn(ONE_LENGTH, 500.0), ROUND_ROBIN, 2_000, seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("balance", BALANCES)
def test_the_fewest_replicas_hold_the_goal_and_one_fewer_do_not(balance: Balance) -> None:
    """Found without trying every number."""
    goal = Goal(0.03, 0.001)
    given = Conditions(Drawn(Mix({(8,): 1.0, (48,): 1.0}, {1: 1.0, 3: 0.2}, 8), 900.0), balance, 3_000, 0)
    found = fewest(PLAIN, given, goal)
    assert found is not None
    assert 1 < found.replicas < MOST_PROCESSES
    assert found.outcome.holds(goal)
    assert not forecast(PLAIN, found.replicas - 1, given).outcome.holds(goal)


# A batch is of one input and takes 10 ms, so a replica answers 100 requests a second.
ONE_BY_ONE = replica([(1, 16, 0.01), (2, 16, 0.02)], limits=replace(LIMITS, batch_tokens=16))


@pytest.mark.parametrize(
    ("rate", "p99", "refused", "least"),
    [(5_000.0, 0.05, 0.001, 50), (5_000.0, 1.5, 0.001, 49), (800.0, 5.0, 0.001, 8), (5_000.0, 5.0, 0.2, 39)],
)
def test_replicas_that_cannot_do_what_comes_are_too_few_however_long_one_may_wait(
    rate: float, p99: float, refused: float, least: int
) -> None:
    """The time that is simulated ends before the queue has grown to the bound. What may be refused need not be done."""
    given = Conditions(Drawn(ONE_LENGTH, rate), LEAST_CONNECTIONS, 5_000, 0)
    found = fewest(ONE_BY_ONE, given, Goal(p99, refused))
    assert found is not None
    assert least <= found.replicas <= 1.1 * least + 1


def test_an_event_loop_that_cannot_read_what_comes_is_too_little() -> None:
    """Though the model has little to do."""
    slow = replica([(1, 8, 1e-4), (8, 64, 1e-4)], Overhead(per_request=0.01, per_input=0, per_token=0), threads=4)
    assert not forecast(slow, 1, Conditions(Drawn(ONE_LENGTH, 120.0), ROUND_ROBIN, 2_000, 0)).outcome.keeps_up()
    assert forecast(slow, 1, Conditions(Drawn(ONE_LENGTH, 80.0), ROUND_ROBIN, 2_000, 0)).outcome.keeps_up()


def test_a_trace_is_all_that_comes() -> None:
    """So what waits at its end is done soon, and nothing grows."""
    trace = Trace([Arrival(n / 1_000, (16,)) for n in range(100)])
    found = forecast(ONE_BY_ONE, 1, Conditions(trace, ROUND_ROBIN, 1_000, 0)).outcome
    assert found.keeps_up()
    assert found.holds(Goal(2.0, 0.0))


def test_where_an_idle_replica_takes_too_long_no_number_is_sought() -> None:
    """None is the answer, at once."""
    assert fewest(PLAIN, Conditions(Drawn(ONE_LENGTH, 1e6), ROUND_ROBIN, 1_000, 0), Goal(0.003, 0.0)) is None


def test_of_a_large_fleet_a_part_stands_for_all() -> None:
    """Its load for each replica is that of all."""
    given = Conditions(Drawn(ONE_LENGTH, 100_000.0), LEAST_CONNECTIONS, 4_000, 0)
    found = forecast(PLAIN, 400, given)
    assert found.simulated == MOST_PROCESSES
    small = forecast(PLAIN, MOST_PROCESSES, replace(given, traffic=Drawn(ONE_LENGTH, 250.0 * MOST_PROCESSES)))
    assert found.outcome.percentile(0.99) == pytest.approx(small.outcome.percentile(0.99), rel=0.01)


def test_fewest_connections_spread_long_requests_better_than_turns() -> None:
    """One request in fifty is thirty times as long."""
    mix = Mix({(8,): 49.0, (8,) * 30: 1.0}, {1: 1.0}, 8)
    p99 = {
        balance: forecast(PLAIN, 8, Conditions(Drawn(mix, 1_500.0), balance, 8_000, 0)).outcome.percentile(0.95)
        for balance in (ROUND_ROBIN, LEAST_CONNECTIONS)
    }
    assert p99[LEAST_CONNECTIONS] < p99[ROUND_ROBIN]


def test_bursts_come_at_the_end_of_each_period() -> None:
    """At so many times the usual rate; the mean is what is told."""
    drawn = Drawn(ONE_LENGTH, 100.0, Burst.read("4:2:10"))
    assert drawn.rate == pytest.approx(160.0)
    times = [arrival.at for arrival in drawn.load(1.0, 16_000, 0).arrivals]
    assert times == sorted(times)
    high = sum(at % 10 >= 8 for at in times)
    assert high / (len(times) - high) == pytest.approx(4 * 2 / 8, rel=0.08)
    assert len(times) == pytest.approx(16_000, rel=0.05)
    assert len(list(drawn.load(0.25, 4_000, 0).arrivals)) == pytest.approx(4_000, rel=0.08)


def test_a_load_of_bursts_has_whole_periods() -> None:
    """Bursts come at their ends: without the last one fewer requests would come than do, and too little would do."""
    drawn = Drawn(ONE_LENGTH, 10.0, Burst.read("9:2:10"))  # 26 a second
    load = drawn.load(1.0, 980, 0)  # of 37.7 s
    assert load.seconds == pytest.approx(40.0)
    assert len(list(load.arrivals)) == pytest.approx(26 * 40, rel=0.1)
    given = Conditions(Drawn(ONE_LENGTH, 42.0, Burst.read("9:2:10")), ROUND_ROBIN, 4_050, 0)  # 109 a second
    assert not forecast(ONE_BY_ONE, 1, given).outcome.keeps_up()
    assert forecast(ONE_BY_ONE, 2, given).outcome.keeps_up()


def test_bursts_that_are_too_far_apart_are_refused() -> None:
    """With how many requests would do."""
    drawn = Drawn(ONE_LENGTH, 100.0, Burst.read("4:2:1000"))
    with pytest.raises(ConfigError, match="--requests") as error:
        drawn.load(1.0, 1_000, 0)
    enough = int(str(error.value).partition("--requests ")[2].partition(" ")[0])
    assert drawn.load(1.0, enough, 0).expected == pytest.approx(0.9 * 20 * enough, rel=0.01)


SERVED = Served("mood", "classification", 512, 128, 256)
LOG = {
    "time": "2026-01-02T00:00:01.500Z",
    "inputs": 2,
    "tokens": 9,
    "key": "team",
    "timings_ms": {"total": 500.0},
}


def test_traces_are_read_from_json_csv_and_the_log(tmp_path: Path) -> None:
    """In order, from instant 0; lines of the log without inputs are counted."""
    rows = tmp_path / "trace.jsonl"
    rows.write_text('{"at": 12.5, "lengths": [3, 4]}\n\n{"at": 10, "lengths": [7], "client": "a"}\n')
    table = tmp_path / "trace.CSV"
    table.write_text("at,lengths,client\n12.5,3 4,\n10,7,a\n")
    expected = [Arrival(0.0, (7,), "a"), Arrival(2.5, (3, 4), "")]
    assert Trace.read(rows, SERVED) == Trace.read(table, SERVED) == Trace(expected)
    for path in (rows, table):
        path.write_text(path.read_text(), "utf-8-sig")  # as spreadsheets write it
        assert Trace.read(path, SERVED) == Trace(expected)
    log = tmp_path / "log.jsonl"
    lines = [LOG, {"time": "2026-01-02T00:00:03.000Z", "message": "model ready"}, {**LOG, "inputs": 3}]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = Trace.read(log, SERVED)
    assert found.skipped == 1
    assert [arrival.lengths for arrival in found.arrivals] == [(5, 4), (3, 3, 3)]
    assert {arrival.client for arrival in found.arrivals} == {"team"}


def log_of(path: Path, *lines: dict[str, object]) -> Path:
    """A log of these lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_long_context_is_as_many_inputs_as_it_has_windows(tmp_path: Path) -> None:
    """Where the log does not have them, as its tokens need; many windows are no more inputs than were sent."""
    line = {**LOG, "model": "mood", "inputs": 1, "tokens": 1200}
    path = log_of(tmp_path / "log.jsonl", line, {**line, "windows": 4}, {**line, "inputs": 3, "windows": 3})
    few = replace(SERVED, max_items=3)
    assert [a.lengths for a in Trace.read(path, few).arrivals] == [(400,) * 3, (300,) * 4, (400,) * 3]
    log_of(path, {**line, "windows": 257})
    with pytest.raises(DataError, match="jsonl:1: more windows than the service takes, max_windows is 256"):
        Trace.read(path, SERVED)


def test_a_log_is_read_for_the_model_that_is_planned_for(tmp_path: Path) -> None:
    """Lines of others are counted, whatever they hold. A model alone may be served under any name."""
    mine, other = {**LOG, "model": "mood"}, {**LOG, "model": "other", "inputs": 500, "tokens": 10**6}
    path = log_of(tmp_path / "log.jsonl", other, mine, {**LOG, "model": "third"}, mine)
    found = Trace.read(path, SERVED)
    assert [arrival.lengths for arrival in found.arrivals] == [(5, 4), (5, 4)]
    assert found.others == 2
    log_of(path, mine, mine)
    assert len(Trace.read(path, replace(SERVED, model="small")).arrivals) == 2
    log_of(path, mine, other)
    with pytest.raises(DataError, match=r"of several models \('mood', 'other'\), none is 'small'; leave those of one"):
        Trace.read(path, replace(SERVED, model="small"))


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """What the service logs goes to a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonFormatter())
    handlers, level = LOGGER.handlers, LOGGER.level
    LOGGER.handlers = [handler]
    LOGGER.setLevel("INFO")
    try:
        yield
    finally:
        LOGGER.handlers = handlers
        LOGGER.setLevel(level)
        handler.close()


def test_a_client_of_number_zero_is_a_client(tmp_path: Path) -> None:
    """And not one of those that are not named."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"at": 1, "lengths": [3], "client": 0}\n{"at": 2, "lengths": [3]}\n')
    assert [arrival.client for arrival in Trace.read(path, SERVED).arrivals] == ["0", ""]


def test_what_the_service_logs_is_a_trace(tmp_path: Path) -> None:
    """As it is; nothing has to be changed."""
    call = Call("1", owner="team", model="mood", version="1", inputs=2, windows=2, tokens=9)
    call.stamps = Stamps(10.0, 10.1, 10.2, 10.4, 10.5)
    path = tmp_path / "log.jsonl"
    with logging_to(path):
        logs.request(call, "POST", "/v1/classify", 200, False)
    assert Trace.read(path, SERVED).arrivals == [Arrival(0.0, (5, 4), "team")]


@pytest.mark.parametrize(
    ("place", "route", "body"),
    [
        (0, "/v1/classify", {"inputs": "the film was dull " * 40, "long": "mean"}),
        (1, "/v1/answer", {"question": "who sang", "context": "the town sang a song " * 40}),
    ],
)
def test_the_service_logs_the_windows_of_long_texts(
    place: int, route: str, body: dict[str, object], artifacts: tuple[Path, Path], client: TestClient, tmp_path: Path
) -> None:
    """So that its log is a trace: no input of it is longer than the model takes."""
    manifest = open_artifact(artifacts[place]).manifest
    path = tmp_path / "log.jsonl"
    with logging_to(path):
        assert client.post(route, json=body).status_code == 200
    (line,) = [row for row in map(json.loads, path.read_text().splitlines()) if row.get("tokens")]
    assert line["inputs"] == 1
    assert line["tokens"] / line["windows"] <= manifest.max_length < line["tokens"]
    served = replace(SERVED, model=manifest.name, task=manifest.task, max_length=manifest.max_length)
    (arrival,) = Trace.read(path, served).arrivals
    assert len(arrival.lengths) == line["windows"]
    assert sum(arrival.lengths) == line["tokens"]


def test_the_examples_of_the_page_are_traces(tmp_path: Path) -> None:
    """Both say the same."""
    page = (Path(__file__).parents[2] / "docs/capacity.md").read_text("utf-8")
    found = []
    for kind, suffix in (("json", "jsonl"), ("csv", "csv")):
        path = tmp_path / f"trace.{suffix}"
        path.write_text(page.partition(f"```{kind}\n")[2].partition("```")[0])
        found.append(Trace.read(path, SERVED))
    assert found[0] == found[1] == Trace([Arrival(0.0, (14, 31), "team-a"), Arrival(0.014, (22,), "")])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"at": 1}', "trace.jsonl:2: a request has `at`"),
        ('{"at": "soon", "lengths": [1]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": NaN, "lengths": [1]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1, "lengths": "128"}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1, "lengths": [1.5]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1, "lengths": [true]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": true, "lengths": [1]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1e300, "lengths": [1]}', "its requests are 1.0e+300 seconds apart; `at` is in seconds"),
        ('{"at": 1796000000000, "lengths": [1]}', "its requests are 1.8e+12 seconds apart; `at` is in seconds"),
        ('{"at": ' + 5_000 * "1" + ', "lengths": [1]}', "is neither JSON lines nor CSV"),
        ('{"at": 1, "lengths": [0]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1, "lengths": []}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1, "lengths": [600]}', "trace.jsonl:2: an input is longer than the 512 tokens"),
        ('{"at": 1, "lengths": [1, 1, 1]}', "trace.jsonl:2: more inputs than the service takes, max_items is 2"),
        ('{"at": 1, "lengths": [1e400]}', "trace.jsonl:2: a request has `at`"),
        ('{"at": 1' + 400 * "0" + ', "lengths": [1]}', "trace.jsonl:2: a request has `at`"),
        (json.dumps({**LOG, "inputs": 10**9, "tokens": 10**12}), "trace.jsonl:2: more inputs than the service takes"),
        (json.dumps({**LOG, "inputs": -1}), "trace.jsonl:2: a request has `at`"),
        (json.dumps({**LOG, "time": 5}), "trace.jsonl:2: a request has `at`"),
        (100_000 * "[", "is neither JSON lines nor CSV"),
        ("[1, 2]", "trace.jsonl:2: a line holds one JSON object"),
        ("at 1", "is neither JSON lines nor CSV"),
    ],
)
def test_what_is_no_request_is_named_by_its_line(line: str, said: str, tmp_path: Path) -> None:
    """With what a request has."""
    path = tmp_path / "trace.jsonl"
    path.write_text('{"at": 0, "lengths": [1]}\n' + line + "\n")
    with pytest.raises(DataError, match="jsonl") as error:
        Trace.read(path, replace(SERVED, max_items=2, max_windows=4))
    assert said in str(error.value)


def test_milliseconds_are_not_taken_for_seconds(tmp_path: Path) -> None:
    """As many programs log them: a thousandth of the requests a second would be planned for."""
    for factor, taken in ((1, True), (1e3, False), (1e9, False)):
        lines = [{"at": (1_796_000_000 + n / 100) * factor, "lengths": [16]} for n in range(3)]
        path = log_of(tmp_path / "trace.jsonl", *lines)
        if taken:
            assert Trace.read(path, SERVED).rate == pytest.approx(150, rel=0.01)
        else:
            with pytest.raises(DataError, match="`at` is in seconds"):
                Trace.read(path, SERVED)


def test_a_trace_without_requests_is_refused(tmp_path: Path) -> None:
    """And one that is not there."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    for path in (empty, tmp_path / "absent.jsonl"):
        with pytest.raises(DataError, match=path.name):
            Trace.read(path, replace(SERVED, max_items=2, max_windows=4))


@pytest.mark.parametrize("text", ["", "a", "0:1", "16:0", "16:-1", "16:nan", "1.5", "16:inf", "1:1e308,2:1e308"])
def test_weights_are_of_whole_numbers(text: str) -> None:
    """Each with a weight above 0."""
    assert weights("--lengths", "16:0.5,32") == {16: 0.5, 32: 1.0}
    assert weights("--lengths", "16:0.5,32,16:0.25") == {16: 0.75, 32: 1.0}
    with pytest.raises(ConfigError, match="--lengths"):
        weights("--lengths", text)


@pytest.mark.parametrize(
    "text",
    ["4", "4:2", "1:2:10", "4:10:10", "4:0:10", "a:b:c", "nan:1:2", "4:0.1:0.5", "4:2:inf", "4:2:10:1", "1e308:2:30"],
)
def test_a_burst_that_cannot_be_is_refused(text: str) -> None:
    """With the form of one that can."""
    with pytest.raises(ConfigError, match="FACTOR:SECONDS:EVERY"):
        Burst.read(text)


PROFILE = Profile(
    model="mood",
    digest="0",
    task="classification",
    form="fp32",
    runtime="onnxruntime",
    device="cpu",
    max_length=512,
    batch_tokens=1024,
    weights_kept=0.5,
    machine={"cpu": "a processor", "cores": 2},
    busy=None,
    overhead=Overhead(per_request=3e-4, per_input=5e-5, per_token=1e-6),
    sizes=[PLAIN.size, PLAIN.size.model_copy(update={"threads": 2})],
)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A file."""
    path = tmp_path / "mood.json"
    path.write_text(PROFILE.model_dump_json())
    return path


def test_the_command_finds_the_fewest_replicas(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table and as JSON, of every size of the profile."""
    words = ["--profile", str(profile), "--rate", "600", "--lengths", "16:0.7,48:0.3", "--p99", "40"]
    words += ["--requests", "2000"]
    assert command.main(words) == 0
    shown = capsys.readouterr().out
    assert "fewest cores" in shown
    assert command.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["size"] for one in found["sizes"]] == ["1x1", "1x2"]
    for one in found["sizes"]:
        assert one["p99_ms"] <= 40
        assert one["refused"] <= 0.001
        assert str(one["replicas"]) in shown
    assert found["traffic"] == {
        "requests_per_second": 600.0,
        "inputs_per_request": 1.0,
        "tokens_per_request": 25.6,
    }
    assert "600 requests a second of 1 input and 25.6 tokens on average" in shown
    assert "points" not in found["profile"]
    assert command.main([*words[:4], "--lengths", "500", "--p99", "1", "--sizes", "1x2"]) == 1
    assert "no number of replicas holds it" in capsys.readouterr().out


def test_figures_of_a_queue_that_grows_are_told(profile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a number of replicas is given; and only there."""
    words = ["--profile", str(profile), "--lengths", "16", "--requests", "2000", "--sizes", "1x1", "--replicas", "1"]
    for rate, told in (("2000", True), ("100", False)):
        assert command.main([*words, "--rate", rate]) == 0
        assert ("1x1: more requests come than 1 can answer" in capsys.readouterr().err) is told


def test_times_of_a_busy_machine_say_how_to_take_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At each use: a file that is kept would be read again."""
    path = tmp_path / "mood.json"
    path.write_text(PROFILE.model_copy(update={"busy": "the others"}).model_dump_json())
    words = ["--profile", str(path), "--rate", "10", "--lengths", "16", "--p99", "40", "--requests", "1000"]
    assert command.main(words) == 0
    said = f"the others; remove {path}, and time the model again when it is idle"
    assert said in capsys.readouterr().err


def test_averages_are_those_of_all_requests() -> None:
    """Of a mix as its weights have it, whatever a sample has; of a trace of every request."""
    mix = Mix({(16,): 0.7, (64, 32): 0.3}, {1: 3.0, 5: 1.0}, 1)
    assert Drawn(mix, 1.0).means() == pytest.approx((2 * 1.3, 2 * (16 * 0.7 + 96 * 0.3)))
    assert Trace([Arrival(0.0, (16,)), Arrival(1.0, (8, 7))]).means() == (1.5, 15.5)


def test_a_load_without_requests_misses_no_goal() -> None:
    """As where a few of many replicas are simulated, and their share of a short trace has none."""
    trace = Trace([Arrival(0.0, (16,)), Arrival(1e-3, (16,))])
    given = Conditions(trace, LEAST_CONNECTIONS, 1_000, 0)
    assert forecast(PLAIN, 100_000, given).outcome.holds(Goal(0.03, 0.0))
    found = fewest(PLAIN, given, Goal(0.03, 0.0))
    assert found is not None
    assert found.replicas < MOST_PROCESSES


def test_a_trace_that_is_too_short_for_a_p99_is_refused(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or its figures come with a warning, where a number of replicas is given."""
    trace = log_of(tmp_path / "trace.jsonl", {"at": 0, "lengths": [16]})
    words = ["--profile", str(profile), "--trace", str(trace), "--sizes", "1x1"]
    assert command.main([*words, "--p99", "40"]) == 1
    assert "has 1 requests, and a p99 needs 100 or more" in capsys.readouterr().err
    assert command.main([*words, "--replicas", "1"]) == 0
    assert "1x1: of 1 requests a p99 says little; give a longer trace" in capsys.readouterr().err


def test_a_profile_that_cannot_be_kept_is_used(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The times took long. Nothing is left of the file."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(command, "measure", lambda *_: PROFILE)
    monkeypatch.setattr(Path, "replace", full)
    words = [str(artifacts[0]), "--profile", str(tmp_path / "mood.json"), "--rate", "5", "--lengths", "5"]
    assert command.main([*words, "--replicas", "1", "--requests", "1000"]) == 0
    told = capsys.readouterr()
    assert "mood.json: the times could not be kept: No space left on device; name another file" in told.err
    assert "1x1" in told.out
    assert list(tmp_path.iterdir()) == []


def test_the_command_reads_a_trace_and_settings_of_the_service(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A queue that may be a tenth as long refuses more."""
    trace = tmp_path / "trace.csv"
    trace.write_text("at,lengths\n" + "".join(f"{n / 1000},40\n" for n in range(3000)))
    refused = []
    for seconds in ("2", "0.2"):
        words = ["--profile", str(profile), "--trace", str(trace), "--replicas", "1", "--sizes", "1x1", "--json"]
        assert command.main([*words, "--max-queue-seconds", seconds]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["settings"]["max_queue_seconds"] == float(seconds)
        refused.append(found["sizes"][0]["refused"])
    assert 0 < refused[0] < refused[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--p99", "5"], "--rate R, or --trace FILE"),
        (["--rate", "5", "--p99", "5"], "--lengths 16:0.7,64:0.3, or --texts FILE"),
        (["--rate", "5", "--p99", "5", "--texts", "x.txt"], "--texts needs ARTIFACT"),
        (["--rate", "5", "--p99", "5", "--lengths", "513"], "the model takes 512 tokens"),
        (["--rate", "5", "--p99", "5", "--lengths", "5", "--inputs", "129"], "max_items"),
        (["--rate", "5", "--p99", "5", "--lengths", "5", "--sizes", "4x4"], "the profile has 1x1, 1x2"),
        (["--rate", "5", "--p99", "5", "--lengths", "5", "--sizes", "4"], "workers x threads"),
        (["--trace", "t", "--p99", "5", "--lengths", "5"], "--lengths is for requests that are drawn"),
        (["--trace", "t", "--p99", "5"], "cannot be read"),
        (["--trace", "t", "--p99", "5", "--requests", "2000"], "--requests is for requests that are drawn"),
        (["--rate", "5", "--replicas", "5", "--lengths", "5", "--refused", "0"], "--refused belongs to a goal"),
        (["--rate", "5", "--lengths", "5"], "say what is wanted: --p99 MS, or --replicas N"),
        (["--json"], "say what is wanted: --p99 MS, or --replicas N"),
        (["--lengths", "16"], "--lengths is for requests that are drawn; give --rate R too"),
        (["--burst", "4:2:30", "--p99", "5"], "--burst is for requests that are drawn; give --rate R too"),
        (["--sizes", "4x4"], "the profile has 1x1, 1x2"),
        (["--rate", "5", "--p99", "5", "--form", "int8"], "is of the form fp32"),
        (["--rate", "5", "--p99", "5", "--runtime", "openvino"], "was timed in onnxruntime"),
        (["--rate", "5", "--p99", "5", "--max-queue-seconds", "0"], "max_queue_seconds"),
        (["--rate", "5", "--p99", "5", "--max-batch-tokens", "1025"], "has batches of up to 1024 tokens"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(
    words: list[str], said: str, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do instead."""
    assert command.main(["--profile", str(profile), *words]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rate", "abc"], "--rate: must be a number from 0.000001 to 100,000,000"),
        (["--rate", "1e300"], "--rate: must be a number from 0.000001 to 100,000,000"),
        (["--replicas", "1.5"], "--replicas: must be a whole number from 1 to 10,000,000"),
        (["--replicas", "99999999"], "--replicas: must be a whole number from 1 to 10,000,000"),
        (["--requests", "abc"], "--requests: must be a whole number from 1,000"),
        (["--requests", "10000001"], "--requests: must be a whole number from 1,000"),
        (["--p99", "nan"], "--p99: must be a number above 0"),
        (["--refused", "all"], "--refused: must be a share from 0 to below 1"),
    ],
)
def test_a_number_that_cannot_be_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that can."""
    with pytest.raises(SystemExit):
        command.main(words)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "absent/mood.json"], "absent/mood.json: no file can be written there"),
        (["--rate", "5", "--p99", "5"], "--lengths 16:0.7,64:0.3, or --texts FILE"),
        (["--trace", "absent.jsonl", "--p99", "5"], "absent.jsonl: cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_timed(
    words: list[str],
    said: str,
    artifacts: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As that takes long."""
    monkeypatch.setattr(command, "measure", None)
    assert command.main([str(artifacts[0]), *words]) == 1
    assert said in capsys.readouterr().err


def test_a_size_comes_once_and_all_are_known_before_one_is_simulated(
    profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their names."""
    words = ["--profile", str(profile), "--rate", "5", "--lengths", "5", "--replicas", "1", "--requests", "1000"]
    assert command.main([*words, "--json", "--sizes", "1x1,1x1"]) == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["sizes"]) == 1
    assert command.main([*words, "--sizes", "1x1,4x4"]) == 1
    assert "simulating" not in capsys.readouterr().err


def test_a_request_alone_is_any_of_a_trace() -> None:
    """And not one of its beginning, where longer ones may be."""
    trace = Trace([Arrival(float(n), (64 if n < 1000 else 8,)) for n in range(2000)])
    found = alone(PLAIN, Conditions(trace, ROUND_ROBIN, 1_000, 0))
    assert found.latencies[0] == pytest.approx(0.0028)
    assert found.latencies[-1] == pytest.approx(0.0084)


@pytest.mark.parametrize("content", ["", "{}", "[]", PROFILE.model_dump_json().replace("0.002", "-1")])
def test_a_file_that_is_no_profile_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its name, with how to make one."""
    path = tmp_path / "other.json"
    path.write_text(content)
    assert command.main(["--profile", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"{path}: no profile" in said
    assert "--save" not in said  # which is no flag


def test_a_model_is_timed_and_planned_for_with_its_own_texts(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file that is written is read the next time, and for this artifact only."""
    monkeypatch.setattr(batches, "_SECONDS", 0.001)
    monkeypatch.setattr(overhead, "_ASK_SECONDS", 0.1)
    monkeypatch.setenv("PGB_KEYS_FILE", str(tmp_path / "absent"))  # no setting of this process reaches the server
    path, texts = tmp_path / "mood.json", tmp_path / "texts.jsonl"
    words = [str(artifacts[0]), "--profile", str(path), "--sizes", "1x1", "--max-batch-tokens", "64"]
    assert command.main(words) == 0
    found = Profile.read(path)
    assert (found.model, found.form, [size.name for size in found.sizes]) == ("mood", "fp32", ["1x1"])
    times = {(point.rows, point.tokens): point.seconds for point in found.sizes[0].points}
    assert set(times) == set(grid(found.max_length, 64))
    assert found.overhead.seconds(1, 8) > 1e-5
    texts.write_text('{"text": "the film was dull"}\n{"text": "a", "pair": "song of the town"}\n')
    assert command.main([*words, "--rate", "10", "--texts", str(texts), "--replicas", "1", "--requests", "1000"]) == 0
    told = capsys.readouterr()
    assert "times of mood in fp32, read" in told.err
    assert "1x1" in told.out
    assert command.main([str(artifacts[1]), *words[1:]]) == 1
    assert "is of another artifact" in capsys.readouterr().err


def test_the_server_that_is_timed_has_no_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the letters of their names: with keys it would refuse all that it is asked."""
    given: list[dict[str, str]] = []

    def started(*_: object, env: dict[str, str], **__: object) -> None:
        given.append(env)
        raise OSError("enough is known")

    monkeypatch.setenv("PGB_UI", "false")
    monkeypatch.setenv("pgb_metrics", "false")
    monkeypatch.setenv("HOME", "/here")
    monkeypatch.setattr("subprocess.Popen", started)
    with pytest.raises(OSError, match="enough"), overhead._server(tmp_path, "fp32", Settings()):
        pass
    (env,) = given
    assert env["HOME"] == "/here"
    assert not [name for name in env if name.upper().startswith("PGB_")]


def test_batches_are_timed_whatever_token_is_the_last_one(few_words: Artifact) -> None:
    """Here it is that of padding, and no token comes after it."""
    mine, its = multiprocessing.Pipe()
    opening = batches.Opening(str(few_words.path), "fp32", "onnxruntime", "cpu")
    worker = threading.Thread(target=batches._work, args=(its, opening, 1, 0), daemon=True)
    worker.start()
    with mine:
        assert mine.recv() == {}
        mine.send((2, 8, 0.001))
        assert mine.recv()["times"]
    worker.join(10)


def test_more_cores_than_there_are_are_not_timed(artifacts: tuple[Path, Path]) -> None:
    """The message says how many there are."""
    with pytest.raises(ConfigError, match="needs 1000000 cores"):
        measure(artifacts[0], read_settings([]), [(1000, 1000)], lambda _: None)
    with pytest.raises(ConfigError, match="on the CPU"):
        measure(artifacts[0], read_settings(["--device", "cuda"]), [(1, 1)], lambda _: None)
