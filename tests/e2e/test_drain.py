"""From start to stop, with a real process and real signals."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from benchmarks.service.process import launched
from tests.served import free_port, serving

FIRST = ("unshare", "--pid", "--fork", "--mount-proc")  # what follows is the first process of a namespace


async def traffic(url: str, clients: int, until: asyncio.Event) -> Counter[object]:
    """Closed-loop clients, each with its own connection, until told to stop; what they got."""
    got: Counter[object] = Counter()

    async def one(client: httpx.AsyncClient) -> None:
        while not until.is_set():
            try:
                reply = await client.post(f"{url}/v1/classify", json={"inputs": ["the film was dull"] * 8}, timeout=20)
                got[reply.status_code] += 1
            except httpx.ConnectError:
                got["refused"] += 1
                return
            except httpx.HTTPError as error:
                got[type(error).__name__] += 1

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return got


def many(artifacts: tuple[Path, Path]) -> list[str]:
    """Enough models for loading them to be seen."""
    return [f"m{n}={artifacts[n % 2]}" for n in range(8)]


def probed(url: str, process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Status after status, from when the process listens, as long as it lives."""
    while process.poll() is None:
        with suppress(httpx.ConnectError):
            yield httpx.get(url).status_code
        time.sleep(0.005)


def may_be_first() -> bool:
    """Whether this system lets us make a namespace of processes."""
    with suppress(FileNotFoundError):
        return subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode == 0
    return False


def imports(process: int) -> None:
    """Wait until it has begun to import what is large, which goes on for a while."""
    end = time.monotonic() + 20
    while "pydantic_core" not in Path(f"/proc/{process}/maps").read_text():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def hung_up() -> Iterator[None]:
    """SIGHUP has its usual effect on what is started, also where nohup started the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_drain_at_saturation_loses_no_accepted_request(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Ready turns 503 at once, serving goes on for the grace, every request taken is answered, exit 0.

    What connects in the moment in which the socket closes may be reset by the kernel: it was not taken.
    """
    log = tmp_path / "log"
    with serving(str(artifacts[0]), "--drain-seconds", "1.5", log_file=log) as (url, process):

        async def scenario() -> tuple[Counter[object], float]:
            stop = asyncio.Event()
            running = asyncio.create_task(traffic(url, 16, stop))
            await asyncio.sleep(1)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            async with httpx.AsyncClient() as probe:
                while (await probe.get(f"{url}/health", timeout=5)).status_code == 200:
                    await asyncio.sleep(0.005)
            turned = time.monotonic() - begun
            assert await asyncio.to_thread(process.wait, 20) == 0
            stop.set()
            return await running, turned

        got, turned = asyncio.run(scenario())
    assert set(got) <= {200, "refused", "ReadError"}
    assert got[200] > 16
    taken = [line for line in map(json.loads, log.read_text().splitlines()) if line["message"] == "POST /v1/classify"]
    assert Counter(line["status"] for line in taken) == {200: got[200]}
    assert turned < 1.5


def test_a_signal_while_loading_ends_the_process_cleanly(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Exit 0, soon, with nothing left behind."""
    log = tmp_path / "log"
    with serving(*many(artifacts), wait=False, log_file=log) as (url, process):
        assert next(probed(f"{url}/health", process)) == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert "Traceback" not in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_imports_ends_the_process_cleanly(
    artifacts: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    """Before there is anything to drain."""
    log = tmp_path / "log"
    with serving(artifacts[0], wait=False, log_file=log) as (_, process):
        imports(process.pid)
        process.send_signal(number)
        assert process.wait(15) == 0
    assert log.read_text() == ""


@pytest.mark.skipif(not may_be_first(), reason="no namespace of processes can be made here: unshare --pid fails")
def test_the_first_process_of_a_container_ends_at_a_signal_during_the_imports(artifacts: tuple[Path, Path]) -> None:
    """It has no default action for signals."""
    command = [*FIRST, sys.executable, "-P", "-m", "service", str(artifacts[0]), "--port", str(free_port())]
    with subprocess.Popen(command) as outside:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
        while not children.read_text():
            time.sleep(0.001)
        inside = int(children.read_text())
        try:
            imports(inside)
            os.kill(inside, signal.SIGTERM)
            assert outside.wait(15) == 0
        finally:
            with suppress(ProcessLookupError):
                os.kill(inside, signal.SIGKILL)


def test_a_terminal_that_closes_drains(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """As any other signal to stop does; there is nothing that it would read again."""
    log = tmp_path / "log"
    with serving(artifacts[0], "--drain-seconds=1", log_file=log) as (url, process):
        process.send_signal(signal.SIGHUP)
        assert 503 in probed(f"{url}/health", process)
        assert process.wait(20) == 0
    assert "draining" in [json.loads(line)["message"] for line in log.read_text().splitlines()]


def test_a_service_of_which_a_model_fails_drains(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """It is not ready before the signal; but who asks for another of its models has to notice, too."""
    log = tmp_path / "log"
    failing = (
        "from service.models.model import Model as m; m.trouble = 'it fails'; import service.__main__ as s; s.main()"
    )
    command = [sys.executable, "-c", failing, str(artifacts[0]), "--drain-seconds=1"]
    with launched(command, os.environ, wait=False, log=log) as found:
        assert 200 in probed(f"{found.url}/v2/models/mood", found.process)
        found.process.terminate()
        assert 200 in probed(f"{found.url}/v2/models/mood", found.process)
        assert found.process.wait(20) == 0
    assert "draining" in [json.loads(line)["message"] for line in log.read_text().splitlines()]


def test_a_process_that_nohup_started_outlives_its_terminal(artifacts: tuple[Path, Path]) -> None:
    """It has the signal ignored from the start."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with serving(artifacts[0]) as (url, process):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert httpx.get(f"{url}/health").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_model_that_does_not_load_ends_the_process_with_one_line(
    artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """Exit 1, the reason, no traceback."""
    command = [sys.executable, "-m", "service", str(artifacts[0]), str(tmp_path), "--port", str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "no manifest.json" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_probes_are_answered_while_models_load(artifacts: tuple[Path, Path]) -> None:
    """Live from the start, ready only after a forward pass."""
    with serving(*many(artifacts), wait=False) as (url, process):
        assert next(probed(f"{url}/v2/health/live", process)) == 200
        seen = list(itertools.takewhile(lambda status: status != 200, probed(f"{url}/health", process)))
        assert set(seen) == {503}
        assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 200


def test_the_log_is_json_with_the_request_s_own_id(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """One line a request, errors too, and never the text that was sent."""
    log = tmp_path / "log"
    with serving(artifacts[0], log_file=log) as (url, process):
        httpx.post(f"{url}/v1/classify", json={"inputs": "zq-secret"}, headers={"X-Request-Id": "abc-1"})
        httpx.post(f"{url}/v1/classify", json={"inputs": "zq-secret", "top_k": 0}, headers={"X-Request-Id": "abc-2"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    found = {line["request_id"]: line for line in lines if "request_id" in line}
    assert (found["abc-1"]["status"], found["abc-2"]["status"]) == (200, 422)
    assert found["abc-1"]["timings_ms"]["total"] > 0
    assert "zq-secret" not in text
