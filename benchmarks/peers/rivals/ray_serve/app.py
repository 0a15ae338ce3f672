"""The application, in a Ray of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS, Classifier

Scores = list[list[float]]
_START_SECONDS = 110.0
# A port that Ray chooses must be told within 15 seconds, or its node ends; on one core that may take longer.
_PORTS = (
    "--port",
    "--dashboard-agent-grpc-port",
    "--dashboard-agent-listen-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)


@serve.deployment(num_replicas=1, max_ongoing_requests=2 * BATCH, ray_actor_options={"num_cpus": 1})
class Sentiment:
    """Labels texts."""

    def __init__(self) -> None:
        self.classifier = Classifier.from_environment()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def run(self, requests: list[list[str]]) -> list[Scores]:
        """All texts in one run, and then the rows of each request."""
        rows = iter(self.classifier([text for texts in requests for text in texts]))
        return [[next(rows) for _ in texts] for texts in requests]

    async def __call__(self, request: Request) -> dict[str, Scores]:
        """The probability of each label, by text."""
        return {"scores": await self.run((await request.json())["texts"])}


def node(ports: list[int]) -> subprocess.Popen[bytes]:
    """A node that runs until it gets SIGTERM."""
    given = [f"{name}={port}" for name, port in zip(_PORTS, ports, strict=True)]
    ray_command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    own = ["--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"]
    return subprocess.Popen([*ray_command, *own, f"--temp-dir={os.environ['RAY_TMPDIR']}", *given])


def join(address: str) -> None:
    """Be a driver of the node as soon as it runs. Raises ConnectionError."""
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            ray.init(address=address, log_to_driver=False)
            return
        except (ConnectionError, RuntimeError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def main() -> None:
    """Serve until SIGTERM, which ends Serve and then Ray."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    first, ports = int(os.environ["PEERS_PORT"]), [int(port) for port in os.environ["PEERS_PORTS"].split(",")]
    running = node(ports)
    join(f"127.0.0.1:{ports[0]}")
    signal.signal(signal.SIGTERM, end)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=first), logging_config={"enable_access_log": False})
    serve.run(Sentiment.bind(), route_prefix="/")  # type: ignore[attr-defined]
    ended.wait()
    serve.shutdown()
    ray.shutdown()
    running.terminate()
    running.wait()


if __name__ == "__main__":
    main()
