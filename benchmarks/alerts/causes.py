"""What makes each alert fire, done to a real service."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pgb_core.artifact import TOKENIZER, open_artifact, write_artifact
from service.keys import make_key

_LONG = "the film was fine and the song was not " * 60
# 64,000 tokens for a model that takes 512: a second of one core or so. It runs in slices, between which others run, so
# many such requests make `infer` long, and not `queue`.
LARGE = {"inputs": [_LONG] * 128}
# What runs as one batch.
ONE_BATCH = {"inputs": [_LONG] * 2}
SMALL = {"inputs": "a film about a town"}
# A word that the tokenizer of `beside` gives a number without a row in the model's table.
STRANGE = "film"
# Settings under which a flood waits, and is not refused.
PATIENT = {"max_queue_seconds": "120", "max_queue_tokens": "100000000", "max_request_seconds": "120"}


class Service:
    """A process of the service, which a cause starts, floods and ends."""

    def __init__(self, artifact: Path, port: int, folder: Path) -> None:
        self.artifact, self.port = artifact, port
        self.log = folder / f"service-{port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        """In place of what ran before; returns when it is ready."""
        self.kill()
        given = {
            "artifacts": str(self.artifact),
            "port": str(self.port),
            "threads": "1",
            "drain_seconds": "0",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PGB_")}
        env = kept | {f"PGB_{name.upper()}": value for name, value in (given | settings).items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "service"], stderr=log, env=env)
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if self.ask("/health")[0] == 200:
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the service is not ready:\n{self.log.read_text()[-2000:]}")

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            if how == signal.SIGKILL:
                self.process.wait()

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            content = None if body is None else json.dumps(body)
            sent = {"content-type": "application/json", **headers}
            connection.request("GET" if body is None else "POST", path, content, sent)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def said(self, message: str) -> str:
        """The last line of the error that its log has last under this message."""
        found = [line for line in self.log.read_text().splitlines() if f'"message": "{message}"' in line]
        return str(json.loads(found[-1]).get("error", "")).strip().splitlines()[-1] if found else ""


@contextmanager
def repeated(ask: Callable[[], object], clients: int, pause: float = 0.0) -> Iterator[None]:
    """Ask again and again from several threads while inside."""
    stop = threading.Event()

    def client() -> None:
        while not stop.wait(pause):
            with suppress(OSError, http.client.HTTPException):
                ask()

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)


@dataclass(frozen=True)
class Cause:
    """How alerts are caused.

    alerts: which must fire. told: what is done, in words. run: does it while inside. look: queries, or words of the
    log, that the runbook names; their answers are kept.
    """

    alerts: tuple[str, ...]
    told: str
    run: Callable[[Service, Path], Iterator[None]]
    look: tuple[str, ...] = ()
    log: str = ""


def killed(ill: Service, folder: Path) -> Iterator[None]:
    """The process is gone."""
    ill.kill()
    yield


def out_of_time(ill: Service, folder: Path) -> Iterator[None]:
    """Requests whose own work takes longer than the service gives them."""
    ill.start(**PATIENT | {"max_request_seconds": "0.05"})
    with repeated(lambda: ill.ask("/v1/classify", LARGE), 2, 0.2):
        yield


def slow_senders(ill: Service, folder: Path) -> Iterator[None]:
    """Bodies that take a second and a half to arrive."""
    body = json.dumps(SMALL).encode()

    def send() -> None:
        with socket.create_connection(("127.0.0.1", ill.port), 30) as connection:
            head = "POST /v1/classify HTTP/1.1\r\nhost: a\r\ncontent-type: application/json"
            connection.sendall(f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode())
            time.sleep(1.5)
            connection.sendall(body)
            connection.recv(65536)

    with repeated(send, 4):
        yield


def flood(ill: Service, folder: Path) -> Iterator[None]:
    """More than can run, and a queue that takes it all."""
    ill.start(**PATIENT)
    with repeated(lambda: ill.ask("/v1/classify", ONE_BATCH), 48):
        yield


def full(ill: Service, folder: Path) -> Iterator[None]:
    """More than can run, and a queue that takes little."""
    ill.start(max_queue_seconds="0.01")
    with repeated(lambda: ill.ask("/v1/classify", LARGE), 4, 0.05):
        yield


def failing(ill: Service, folder: Path) -> Iterator[None]:
    """A tokenizer whose numbers the model does not have."""
    ill.start(artifacts=str(beside(ill.artifact, folder / "beside")))
    with repeated(lambda: ill.ask("/v1/classify", {"inputs": f"the {STRANGE}"}), 1, 0.5):
        yield


def not_loaded(ill: Service, folder: Path) -> Iterator[None]:
    """A version of which a file was altered on its way."""
    models = folder / "models"
    broken = write_again(ill.artifact, models / "sentiment", {})
    (broken / "plan.json").write_text("{}")
    keys = folder / "keys"
    key = make_key(keys, "root", "admin")
    ill.start(models_dir=str(models), keys_file=str(keys))
    status, _ = ill.ask("/v2/repository/models/sentiment/load", {}, authorization=f"Bearer {key}")
    if status == 200:
        raise RuntimeError("an altered artifact was loaded")
    yield


def draining(ill: Service, folder: Path) -> Iterator[None]:
    """A signal to stop while a request is open whose body does not end."""
    ill.start(drain_seconds="3", stop_seconds="300", max_body_seconds="300", max_request_seconds="300")
    with socket.create_connection(("127.0.0.1", ill.port)) as held:
        held.sendall(b"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        ill.kill(signal.SIGTERM)
        yield


def restarting(ill: Service, folder: Path) -> Iterator[None]:
    """Killed and started, four times over."""
    for _ in range(4):
        ill.start()
        time.sleep(1.5)  # a scrape
    yield


_MEAN = (
    'sum(rate(pgb_{0}_duration_seconds_sum{{service="ill"}}[20s]))'
    ' / sum(rate(pgb_{0}_duration_seconds_count{{service="ill"}}[20s]))'
)
STAGES = tuple(_MEAN.format(stage) for stage in ("tokenize", "queue", "infer", "postprocess"))
CAUSES: Sequence[Cause] = (
    Cause(("PgbDown",), "the process is killed", killed, ('up{service="ill"}',)),
    Cause(
        ("PgbErrors",),
        "requests have 50 ms for a second of work",
        out_of_time,
        ('sum by (status) (rate(pgb_requests_total{service="ill", dialect!="probe"}[20s]))',),
    ),
    Cause(("PgbSlow",), "bodies take 1.5 s to arrive", slow_senders, STAGES),
    Cause(("PgbQueueWait",), "48 clients send two long texts each, again and again", flood, STAGES),
    Cause(
        ("PgbSaturated",),
        "four clients send 128 long texts each, with max_queue_seconds at 0.01",
        full,
        ('sum by (reason) (rate(pgb_rejections_total{service="ill"}[20s]))',),
    ),
    Cause(
        ("PgbBatchesFail",),
        "a tokenizer gives a number that the model's table does not have",
        failing,
        ('sum by (status) (rate(pgb_requests_total{service="ill", dialect!="probe"}[20s]))',),
        "a batch failed",
    ),
    Cause(
        ("PgbLoadFailed",),
        "an administrator loads an artifact of which a file was altered",
        not_loaded,
        ('sum by (event) (pgb_model_events_total{service="ill"})',),
    ),
    Cause(
        ("PgbDrainStuck",),
        "SIGTERM, with stop_seconds at 300, while a request is open whose body does not end",
        draining,
        ('pgb_open_requests{service="ill"}', 'pgb_draining{service="ill"}'),
    ),
    Cause(
        ("PgbRestarts",),
        "the process is killed and started, again and again",
        restarting,
        ('changes(process_start_time_seconds{service="ill"}[40s])',),
    ),
)


def beside(artifact: Path, folder: Path) -> Path:
    """A copy whose tokenizer gives STRANGE a number beyond the model's table."""
    tokenizer = json.loads((artifact / TOKENIZER).read_text("utf-8"))
    tokenizer["model"]["vocab"][STRANGE] = 10_000_000
    return write_again(artifact, folder, {TOKENIZER: json.dumps(tokenizer).encode()})


def write_again(artifact: Path, folder: Path, files: Mapping[str, bytes]) -> Path:
    """A whole, hashed copy of an artifact with other contents of some files."""
    opened = open_artifact(artifact)
    kept = {name: (artifact / name).read_bytes() for name in opened.manifest.files}
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_artifact(folder, replace(opened.manifest, files={}), {**kept, **files}).path
