"""A container engine for tests and figures: what `docker` reaches, or what a script beside the shared data starts."""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_SCRIPT = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared")) / "tools" / "engine"
# As the compose file confines the service, and Kubernetes' restricted profile with it.
CONFINED = ("--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=1024")
# For a program beside the service: where /proc has the process that serves, which is not the container's first.
SERVED = """
import os, pathlib, signal
found = pathlib.Path('/proc').glob('[0-9]*')
served = next(p for p in found if (p / 'cmdline').read_bytes().split(bytes(1))[1:4] == [b'-P', b'-m', b'service'])
"""
HEADERS = {"content-type": "application/json"}


class EngineError(RuntimeError):
    """A command of the engine failed; the message ends with what it said."""


@functools.cache
def environment() -> Mapping[str, str]:
    """What `docker` needs to reach an engine. One that is started here is stopped at the end of the process.

    Raises EngineError where there is none.
    """
    if shutil.which("docker") and _works(os.environ):
        return os.environ
    if not _SCRIPT.exists():
        raise EngineError(f"docker reaches no engine, and {_SCRIPT} is not there")
    shown = subprocess.run(
        ["bash", "-c", f'eval "$({_SCRIPT} env)" && env -0'],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in shown.stdout.split("\0") if "=" in line)
    if not (shutil.which("docker", path=found["PATH"]) and _works(found)):
        atexit.register(lambda: subprocess.run([_SCRIPT, "down"], capture_output=True, check=False))
        up = subprocess.run([_SCRIPT, "up"], capture_output=True, text=True, check=False)
        if up.returncode:
            raise EngineError(f"{_SCRIPT} up: {up.stderr[-500:]}")
    return found


def docker(*args: str | Path, timeout: float = 900, env: Mapping[str, str] | None = None) -> str:
    """What `docker ARGS` prints. Raises EngineError."""
    done = subprocess.run(
        ["docker", *args],  # noqa: S607 - the engine is where PATH says
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        cwd=ROOT,
    )
    if done.returncode:
        raise EngineError(f"docker {' '.join(map(str, args))[:120]}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout.strip()


def stand_in(name: str) -> str:
    """The image that NAME_IMAGE names, or else one made of a package, laid out as the upstream image is."""
    given = os.environ.get(f"{name.upper()}_IMAGE")
    if given:
        return given
    tag = f"pgb-{name}:test"
    docker("build", "--tag", tag, ROOT / "tests" / "containers" / name)
    return tag


def _works(env: Mapping[str, str]) -> bool:
    done = subprocess.run(["docker", "info"], env=env, capture_output=True, check=False)  # noqa: S607
    return done.returncode == 0


@dataclass(frozen=True)
class Container:
    """A running container of the serving image. begun: instant of its start, in seconds of time.monotonic."""

    name: str
    port: int
    begun: float

    def inspect(self) -> dict[str, Any]:
        """Everything that the engine knows of it."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.name))
        return found[0]

    def logs(self) -> str:
        """Both streams."""
        done = subprocess.run(
            ["docker", "logs", self.name],  # noqa: S607
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    def python(self, code: str) -> str:
        """What a Python program prints that runs beside the service."""
        return docker("exec", self.name, "python", "-c", code)

    def ask(self, path: str, body: object = None, timeout: float = 60) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", path, content, HEADERS)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def ready(self, timeout: float = 60) -> float:
        """Wait for 200 from /health; seconds since the container was started."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                if self.ask("/health", timeout=2)[0] == 200:
                    return time.monotonic() - self.begun
            except (OSError, http.client.HTTPException):
                if docker("inspect", "--format={{.State.Status}}", self.name) == "exited":
                    break
            time.sleep(0.02)
        raise EngineError(f"not ready after {time.monotonic() - self.begun:.0f} s:\n{self.logs()[-2000:]}")

    def wait(self, condition: str, expected: str, timeout: float = 60) -> float:
        """Wait until a field (a Go template) has a value; seconds waited."""
        begun = time.monotonic()
        while (found := docker("inspect", "--format", condition, self.name)) != expected:
            if time.monotonic() - begun > timeout:
                raise EngineError(f"{condition} is {found}, not {expected}, after {timeout:g} s")
            time.sleep(0.1)
        return time.monotonic() - begun


@contextmanager
def container(image: str, artifacts: Mapping[str, Path], *options: str) -> Iterator[Container]:
    """The image with artifacts by name under /models, confined, with a port of its own; removed afterwards."""
    mounts = [f"--volume={path.resolve()}:/models/{name}:ro" for name, path in artifacts.items()]
    with socket.socket() as free:  # one that the engine chooses would change when the container restarts
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    name = docker("run", "--detach", f"--publish=127.0.0.1:{port}:8000", *CONFINED, *options, *mounts, image)
    try:
        yield Container(name, port, begun)
    finally:
        docker("rm", "--force", "--volumes", name)


class Clients:
    """Threads that ask again and again, each on a connection of its own. `got` counts statuses and errors by name."""

    def __init__(self, target: Container, number: int, path: str, body: object) -> None:
        self.got: Counter[str] = Counter()
        self._target = target
        self._body = json.dumps(body)
        self._path = path
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(number)]

    def __enter__(self) -> Clients:
        """They begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """They end after their current request."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._target.port, timeout=60)
            answered = False
            try:
                while not self._stop.is_set():
                    connection.request("POST", self._path, self._body, HEADERS)
                    reply = connection.getresponse()
                    reply.read()
                    self.got[str(reply.status)] += 1
                    answered = True
                    if reply.will_close:
                        break
            except (OSError, http.client.HTTPException) as error:
                # The engine's own proxy takes a connection for a service that no longer listens, and drops it.
                self.got[type(error).__name__ if answered else "refused"] += 1
                self._stop.wait(0.05)
            finally:
                connection.close()
