"""A real server process, started as a user starts it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.served import free_port, serving
from tests.service.sockets import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(artifacts: tuple[Path, Path]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`pgb serve` with both models on a free port."""
    with serving("serve", *artifacts, module="pgb_core.cli") as found:
        yield found


def test_both_tasks_answer_over_a_real_socket_and_sigterm_is_clean(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    """Classification, QA, a header with stages; then SIGTERM ends the process without an error."""
    url, process = server
    reply = httpx.post(f"{url}/v1/classify", json={"inputs": ["the film", "a dull song"]})
    assert reply.status_code == 200
    assert len(reply.json()["results"]) == 2
    assert re.fullmatch(r"tok;dur=[\d.]+, queue;.*, total;dur=[\d.]+", reply.headers["server-timing"])
    asked = {"question": "who sang", "context": "the town sang a song"}
    (answers,) = httpx.post(f"{url}/v1/answer", json=asked).json()["results"]
    assert answers[0]["answer"] in asked["context"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_slow_body_that_never_ends_holds_up_nobody(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    """A half-sent request waits alone."""
    url, _ = server
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}).status_code == 200


def test_the_image_for_sagemaker_starts_as_sagemaker_starts_it(artifacts: tuple[Path, Path]) -> None:
    """With the argument `serve`; as docs/containers.md has it, with another place and port."""
    (line,) = re.findall(r"^ENTRYPOINT (.*-c.*)$", (ROOT / "docs/containers.md").read_text("utf-8"), re.MULTILINE)
    port = free_port()
    program = json.loads(line.replace("/opt/ml/model", str(artifacts[0])).replace("--port=8080", f"--port={port}"))
    with subprocess.Popen([sys.executable, *program[1:], "serve"], stderr=subprocess.DEVNULL) as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping") == 200, 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def answers(url: str) -> int:
    """The status; 0 as long as nobody listens."""
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return 0


def test_a_damaged_artifact_stops_the_start_with_one_line(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """Exit 1, no traceback."""
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in artifacts[0].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = "0" * 64
    (broken / "manifest.json").write_text(json.dumps(manifest))
    done = subprocess.run([sys.executable, "-m", "service", str(broken)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "model.onnx is not the file that was written" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_lies_in_the_current_directory_is_not_run(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a package of the service's name nor a module of one that it imports; and it says where it listens."""
    (tmp_path / "service").mkdir()
    for name in ("service/__main__.py", "service/__init__.py", "uvicorn.py", "json.py", "pgb_core.py"):
        (tmp_path / name).write_text(f"raise SystemExit('{name} was run')")
    monkeypatch.chdir(tmp_path)
    port = free_port()
    command = [str(Path(sys.executable).with_name("pgb")), "serve", str(artifacts[0]), "--port", str(port)]
    terminal, end = os.openpty()
    with subprocess.Popen([*command, "--drain-seconds", "0"], stdout=end, stderr=subprocess.PIPE, text=True) as process:
        os.close(end)
        said = os.read(terminal, 4096).decode()
        address = f"http://127.0.0.1:{port}"
        assert [line.split()[-1] for line in said.splitlines()] == [address, f"{address}/ui/", f"{address}/docs"]
        assert httpx.get(f"{address}/docs").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        lines = [json.loads(line) for line in process.stderr.read().splitlines()]
    os.close(terminal)
    (listening,) = [line for line in lines if line["message"] == "listening"]
    assert (listening["address"], listening["page"]) == (address, f"{address}/ui/")
