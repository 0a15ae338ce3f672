"""Departures, deadlines, overload, broken runtimes: over real sockets, with a runtime that can be held up."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.dialects import DIALECTS
from service.settings import Settings
from tests.service.faults import Held
from tests.service.sockets import metric, running, until


async def ask(client: httpx.AsyncClient, url: str, **more: object) -> httpx.Response:
    """One classification."""
    return await client.post(f"{url}/v1/classify", json={"inputs": "the film", **more}, timeout=30)


def test_of_a_hundred_clients_that_left_at_most_one_is_served(held: tuple[str, Held]) -> None:
    """Queued behind a slow batch, all gone before it ends: their work is dropped and counted as saved."""
    url, runtime = held

    async def scenario() -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
            runtime.go.clear()
            first = asyncio.create_task(ask(client, url))
            await asyncio.to_thread(until, lambda: len(runtime.batches) == 1)
            gone = [asyncio.create_task(ask(client, url)) for _ in range(100)]
            await asyncio.to_thread(until, lambda: metric(url, "pgb_queue_inputs") == 100)
            for task in gone:
                task.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            await asyncio.to_thread(until, lambda: metric(url, "pgb_queue_inputs") == 0)
            runtime.go.set()
            assert (await first).status_code == 200

    asyncio.run(scenario())
    assert sum(runtime.batches) <= 2
    assert metric(url, "pgb_saved_inputs_total") == 100
    assert metric(url, "pgb_saved_seconds_total") > 0


@pytest.mark.parametrize("form", ["field", "header", "v2"])
def test_a_request_past_its_deadline_is_answered_and_does_not_run(held: tuple[str, Held], form: str) -> None:
    """A native field, a header, or the protocol's own parameter: 504 in time, and the work is dropped."""
    url, runtime = held

    async def late(client: httpx.AsyncClient) -> httpx.Response:
        if form == "field":
            return await ask(client, url, timeout_ms=1500)
        if form == "header":
            body = {"inputs": "the film"}
            return await client.post(f"{url}/predict", json=body, headers={"X-Request-Timeout-Ms": "1500"})
        tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["the film"]}
        return await client.post(
            f"{url}/v2/models/mood/infer", json={"parameters": {"timeout": 1_500_000}, "inputs": [tensor]}
        )

    async def scenario() -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
            runtime.go.clear()
            first = asyncio.create_task(ask(client, url))
            await asyncio.to_thread(until, lambda: len(runtime.batches) == 1)
            replies = await asyncio.gather(*(late(client) for _ in range(100)))
            assert {reply.status_code for reply in replies} == {504}
            runtime.go.set()
            assert (await first).status_code == 200

    asyncio.run(scenario())
    assert sum(runtime.batches) <= 2
    assert metric(url, "pgb_saved_inputs_total") == 100


@pytest.mark.slow
def test_overload_is_refused_with_a_time_to_come_back_and_counted(held: tuple[str, Held]) -> None:
    """Past the bound every dialect says 429 with Retry-After in its own words; what was admitted is answered.

    What is larger than the room that is left is refused while there is room for the usual."""
    url, runtime = held
    long = "the film " * 20
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [long]}
    bodies = {
        "/v1/classify": {"inputs": long},
        "/": {"inputs": long},
        "/predict": {"inputs": long},
        "/v2/models/mood/infer": {"inputs": [tensor]},
    }

    async def scenario() -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
            runtime.go.clear()
            tasks = [asyncio.create_task(ask(client, url))]
            await asyncio.to_thread(until, lambda: len(runtime.batches) == 1)
            tasks += [asyncio.create_task(ask(client, url)) for _ in range(490)]
            await asyncio.to_thread(until, lambda: metric(url, "pgb_queue_tokens") == 1960)
            for path, body in bodies.items():
                reply = await client.post(f"{url}{path}", json=body)
                assert reply.status_code == 429
                assert int(reply.headers["retry-after"]) >= 1
                assert set(reply.json()) == ({"error", "error_type"} if path == "/predict" else {"error"})
            assert reply.headers["x-request-id"]
            assert metric(url, "pgb_rejections_total") == 4
            runtime.go.set()
            assert {reply.status_code for reply in await asyncio.gather(*tasks)} == {200}
            stats = (await client.get(f"{url}/v2/models/mood/stats")).json()["model_stats"][0]
            assert stats["inference_stats"]["fail"]["count"] == 4
            assert stats["inference_stats"]["success"]["count"] == 491

    asyncio.run(scenario())


def test_a_runtime_that_stays_broken_turns_ready_to_503_and_back(
    held: tuple[str, Held], caplog: pytest.LogCaptureFixture
) -> None:
    """Every waiter is answered, the process stays alive, and health follows the runtime, whose words the log has."""
    url, runtime = held
    runtime.broken = True
    for _ in range(3):
        assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 503
    assert httpx.post(f"{url}/predict", json={"inputs": "the film"}).json()["error_type"] == "Backend"
    assert httpx.get(f"{url}/health").status_code == 503
    assert httpx.get(f"{url}/v2/health/live").status_code == 200
    assert "RuntimeError: boom" in caplog.text
    assert caplog.text.count("a batch failed") < 3  # four failed within a second or so
    runtime.broken = False
    until(lambda: httpx.get(f"{url}/health").status_code == 200)


def test_a_fault_is_counted_as_one_in_every_dialect(held: tuple[str, Held]) -> None:
    """TEI's clients hear 424 of a runtime that fails, and of a model that does not rank: only the first is a fault."""
    url, runtime = held
    runtime.broken = True
    assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 503
    assert httpx.post(f"{url}/predict", json={"inputs": "the film"}).status_code == 424
    assert httpx.post(f"{url}/rerank", json={"query": "who", "texts": ["the film"]}).status_code == 424
    assert httpx.post(f"{url}/v1/classify", json={"inputs": 5}).status_code == 422
    counted = re.findall(r"^pgb_faults_total\{(.*)\} (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    assert sorted(counted) == [
        ('dialect="native",model="mood",status="503"', "1.0"),
        ('dialect="tei",model="mood",status="424"', "1.0"),
    ]


@pytest.mark.parametrize("held", [{"max_request_seconds": 2}], indirect=True)
def test_the_time_that_a_client_gives_is_no_fault_while_the_model_answers(held: tuple[str, Held]) -> None:
    """Or any client could raise the alarm. If a batch does not end, its 504 is a fault like those of others."""
    url, runtime = held

    def faults() -> list[str]:
        text = httpx.get(f"{url}/metrics").text
        return re.findall(r'^pgb_faults_total\{dialect="native",model="mood",status="504"\} (\S+)$', text, re.MULTILINE)

    def ask_in_haste() -> int:
        body, headers = {"inputs": "the film"}, {"X-Request-Timeout-Ms": "100"}
        return httpx.post(f"{url}/v1/classify", json=body, headers=headers).status_code

    runtime.go.clear()
    assert ask_in_haste() == 504
    assert (faults(), metric(url, "pgb_rejections_total")) == ([], 1)
    until(lambda: httpx.get(f"{url}/health").status_code == 503)
    assert ask_in_haste() == 504
    assert (faults(), metric(url, "pgb_rejections_total")) == (["1.0"], 1)


@pytest.mark.parametrize("held", [{"max_request_seconds": 0.5}], indirect=True)
def test_a_runtime_that_does_not_end_turns_ready_to_503_and_back(
    held: tuple[str, Held], caplog: pytest.LogCaptureFixture
) -> None:
    """Once its batch has run for longer than any request may take; the reason is listed, and logged once."""
    url, runtime = held
    runtime.go.clear()
    assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 504
    until(lambda: httpx.get(f"{url}/health").status_code == 503)
    assert httpx.get(f"{url}/v2/models/mood/ready").status_code == 503
    (state,) = httpx.get(f"{url}/v1/models").json()["states"]
    assert (state["state"], state["reason"]) == ("UNAVAILABLE", "a batch does not end")
    time.sleep(2.5)  # of the probe, which comes every second
    assert caplog.text.count("a batch does not end") == 1
    runtime.go.set()
    until(lambda: httpx.get(f"{url}/health").status_code == 200)


def test_an_input_s_fault_is_never_the_model_s(held: tuple[str, Held]) -> None:
    """However often it is sent: that request's own 4xx in every dialect, and the model stays ready for the others."""
    url, runtime = held
    runtime.bad = 7
    bad = "the film was very good"
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [bad]}
    asked = {
        "/v1/classify": ({"inputs": bad}, 422),
        "/": ({"inputs": bad}, 422),
        "/predict": ({"inputs": bad}, 422),
        "/v2/models/mood/infer": ({"inputs": [tensor]}, 400),
    }
    for _ in range(3):
        for path, (body, status) in asked.items():
            reply = httpx.post(f"{url}{path}", json=body)
            assert (path, reply.status_code) == (path, status)
            assert "cannot run" in reply.text
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 200


def test_the_model_s_check_runs_at_most_once_a_second(held: tuple[str, Held]) -> None:
    """A crowd of inputs that fail costs a run each, and no more."""
    url, runtime = held
    runtime.bad = 7
    begun = time.monotonic()
    for _ in range(30):
        assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film was very good"}).status_code == 422
    assert len(runtime.batches) <= 31 + time.monotonic() - begun


def test_running_out_of_memory_is_no_fault_of_the_input(held: tuple[str, Held]) -> None:
    """The batch is run again in parts; what does not fit even so is a 503, and the model stays ready."""
    url, runtime = held
    runtime.scarce = True
    assert httpx.post(f"{url}/v1/classify", json={"inputs": ["the film", "the town"]}).status_code == 200


@pytest.mark.parametrize("held", [1e-3], indirect=True)
def test_small_requests_are_served_beside_large_ones_of_others(held: tuple[str, Held]) -> None:
    """While one client fills the queue with more than the bound, another is neither refused nor last."""
    url, runtime = held
    runtime.go.clear()
    large = {"inputs": ["the film was very good " * 10] * 8}

    async def scenario() -> None:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as hog, httpx.AsyncClient() as other:
            first = asyncio.create_task(ask(hog, url))
            await asyncio.to_thread(until, lambda: len(runtime.batches) == 1)
            crowd = asyncio.create_task(hog.post(f"{url}/v1/classify", json=large, timeout=30))
            await asyncio.to_thread(until, lambda: metric(url, "pgb_queue_inputs") == 8)
            small = asyncio.create_task(ask(other, url))
            await asyncio.to_thread(until, lambda: metric(url, "pgb_queue_inputs") == 9)
            runtime.go.set()
            replies = await asyncio.gather(first, crowd, small)
            assert {reply.status_code for reply in replies} == {200}

    asyncio.run(scenario())


def test_what_came_whole_is_answered_before_what_did_not_is_refused(held: tuple[str, Held]) -> None:
    """Noise on a connection whose request still runs: its answer comes first, then the 400, then the end."""
    url, runtime = held
    runtime.go.clear()
    body = json.dumps({"inputs": "the film"}).encode()
    head = f"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        until(lambda: runtime.batches == [1])
        connection.sendall(b"\x00 this is no request\r\n\r\n")
        time.sleep(0.1)
        runtime.go.set()
        with connection.makefile("rb") as reader:
            text = reader.read()
    assert text.startswith(b"HTTP/1.1 200")
    assert text.count(b"HTTP/1.1 400 Bad Request") == 1


def test_the_time_of_a_request_begins_with_its_head(held: tuple[str, Held]) -> None:
    """Also when the answer before it on the same connection comes later: its deadline passes meanwhile."""
    url, runtime = held
    runtime.go.clear()
    bodies = [json.dumps({"inputs": "the film", **more}).encode() for more in ({}, {}, {"timeout_ms": 200})]
    head = "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n"
    ends = ("", "", "connection: close\r\n")
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 20) as connection:
        every = zip(bodies, ends, strict=True)  # sent at once: what comes behind the second may be read later
        connection.sendall(b"".join(head.format(len(body), end).encode() + body for body, end in every))
        until(lambda: runtime.batches == [1])
        time.sleep(0.5)
        runtime.go.set()
        with connection.makefile("rb") as reader:
            text = reader.read().decode()
    assert re.findall(r"HTTP/1.1 (\d+)", text) == ["200", "200", "504"]
    tokenize, total = (float(re.findall(rf"{name};dur=([\d.]+)", text)[1]) for name in ("tok", "total"))
    assert 400 < tokenize < total


def test_liveness_does_not_depend_on_load(held: tuple[str, Held]) -> None:
    """With the model held up, the process still says that it lives and is ready."""
    url, runtime = held
    runtime.go.clear()

    async def scenario() -> None:
        async with httpx.AsyncClient() as client:
            first = asyncio.create_task(ask(client, url))
            await asyncio.to_thread(until, lambda: len(runtime.batches) == 1)
            for path in ("/v2/health/live", "/health", "/ping", "/v2/health/ready"):
                assert (await client.get(f"{url}{path}", timeout=2)).status_code == 200
            runtime.go.set()
            await first

    asyncio.run(scenario())


@pytest.mark.parametrize("held", [1e-9], indirect=True)
def test_a_full_service_refuses_before_it_reads_or_tokenises(held: tuple[str, Held]) -> None:
    """Only the head of a request is sent, and its refusal comes; a probe and the metrics still answer."""
    url, runtime = held
    runtime.go.clear()
    body = json.dumps({"inputs": "the film"}).encode()
    head = f"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with ExitStack() as stack:
        running, waiting, refused = (stack.enter_context(socket.create_connection(address, 20)) for _ in range(3))
        running.sendall(head.encode() + b"\r\n\r\n" + body)
        until(lambda: runtime.batches == [1])
        waiting.sendall(head.encode() + b"\r\n\r\n" + body)
        until(lambda: metric(url, "pgb_queue_inputs") == 1)
        refused.sendall(head.encode() + b"\r\n\r\n")
        reply = refused.recv(4096).lower()
        assert reply.startswith(b"http/1.1 429")
        assert b"retry-after: " in reply
        assert httpx.get(f"{url}/health").status_code == 200
        assert metric(url, "pgb_rejections_total") == 1
        (stats,) = httpx.get(f"{url}/v2/models/mood/stats").json()["model_stats"]
        assert stats["inference_stats"]["fail"]["count"] == 1
        runtime.go.set()
        assert running.recv(4096).startswith(b"HTTP/1.1 200")
        assert waiting.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("chunked", [False, True], ids=["of a known size", "in chunks"])
def test_a_small_request_is_admitted_beside_large_ones(held: tuple[str, Held], chunked: bool) -> None:
    """Also when its head does not tell that it is small."""
    url, runtime = held
    runtime.go.clear()
    large = json.dumps({"inputs": ["film " * 62] * 14}).encode()  # 896 tokens of the 2,000 that may be ahead
    small = json.dumps({"inputs": "the film"}).encode()
    head = "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    sized = f"{head}content-length: {{}}\r\n\r\n"
    pieces = f"{head}transfer-encoding: chunked\r\n\r\n{len(small):x}\r\n{small.decode()}\r\n0\r\n\r\n"
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with ExitStack() as stack:
        *many, one, refused = (stack.enter_context(socket.create_connection(address, 20)) for _ in range(4))
        for number, connection in enumerate(many):
            connection.sendall(sized.format(len(large)).encode() + large)
            until(lambda done=number: metric(url, "pgb_queue_inputs") + sum(runtime.batches) == 14 * (done + 1))  # type: ignore[misc]
        refused.sendall(sized.format(len(large)).encode())
        assert refused.recv(4096).startswith(b"HTTP/1.1 429")
        one.sendall(pieces.encode() if chunked else sized.format(len(small)).encode() + small)
        until(lambda: metric(url, "pgb_queue_inputs") + sum(runtime.batches) == 29)
        runtime.go.set()
        assert one.recv(4096).startswith(b"HTTP/1.1 200")


def test_bodies_that_are_still_coming_are_counted(artifacts: tuple[Path, Path]) -> None:
    """Slow senders hold no more than the limit together; what they held is free when they are gone."""
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, max_body_bytes=85_000, max_pending_bytes=214_000)
    head = b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 85000\r\n\r\n"
    with running(settings) as url, ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        first, second = (stack.enter_context(socket.create_connection(address, 20)) for _ in range(2))
        first.sendall(head + b" " * 80_000)
        time.sleep(0.2)
        second.sendall(head + b" " * 80_000)
        assert second.recv(4096).startswith(b"HTTP/1.1 429")
        first.close()
        until(lambda: metric(url, "pgb_open_requests") <= 1)
        reply = httpx.post(f"{url}/v1/classify", json={"inputs": "x" * 80_000})
        assert reply.status_code == 200


def test_exactly_the_routes_that_run_models_are_refused_before_their_bodies(artifacts: tuple[Path, Path]) -> None:
    """Administration and lists are not, whatever they are called."""
    document = create_app(Settings(artifacts=(str(artifacts[0]),))).openapi()
    paths = {path for path, operations in document["paths"].items() if "post" in operations}
    by_their_head = {path for path in paths if any(dialect.work.fullmatch(path) for dialect in DIALECTS)}
    others = paths - by_their_head
    assert all(path.endswith(("/load", "/unload", "/index")) for path in others)
    assert not any(path.endswith(("/load", "/unload", "/index")) for path in by_their_head)
    assert len(by_their_head) >= 9


def test_a_port_that_is_taken_ends_it_with_one_line(artifacts: tuple[Path, Path]) -> None:
    """And not with a trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-P", "-m", "service", str(artifacts[0]), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"pgb serve: cannot listen on 127.0.0.1:{port}: address already in use"
    assert "Traceback" not in done.stderr
