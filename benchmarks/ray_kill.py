"""A node killed under load: what is lost, and for how long, under Ray Serve.

A cluster of two nodes on this machine, a replica on each, bursts of requests through the proxy of the head.
After a while every process of the second node gets SIGKILL; some seconds later a fresh node joins. The
same is done with an application that holds nothing of the service and only waits before it answers: what that
loses is what Ray drops.

    python -m benchmarks.ray_kill ARTIFACT        in an environment with ray[serve] and httpx
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import re
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by the processes that Ray starts, so set before it is imported.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING"] = "0"
os.environ["PYTHONPATH"] = os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", "")))

import httpx
import ray
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve import Application

from benchmarks import script
from deploy.ray_app import build
from pgb_core.machine import facts

PATH = "/v1/classify"
CORES = 1
# Requests come in bursts, and the node dies in the middle of one: it always holds some.
BURST = 10
_INTO_BURST = 0.05


@dataclass(frozen=True)
class Request:
    """Seconds since the load began, the status or the error's class, and the label."""

    sent: float
    ended: float
    outcome: str
    text: str
    label: str | None


@dataclass(frozen=True)
class Marks:
    """Instants of the same clock: node killed, fresh node there, two replicas again."""

    killed: float
    joined: float
    whole: float


def waiting(seconds: float) -> Application:
    """An application that holds nothing of the service: it waits, then answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"results": [[{"label": ""}]]}'})

    deployment = serve.deployment(
        num_replicas=2,
        ray_actor_options={"num_cpus": CORES},
        max_ongoing_requests=10_000,
        health_check_period_s=2,
        health_check_timeout_s=10,
    )
    return deployment(serve.ingress(lambda: app)()).bind()


@contextmanager
def cluster(port: int) -> Iterator[tuple[Cluster, Any]]:
    """Two nodes, and the second of them."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": CORES, "include_dashboard": False})
    try:
        second = nodes.add_node(num_cpus=CORES)
        ray.init(address=nodes.address, logging_level="ERROR", log_to_driver=False)
        serve.start(http_options={"port": port}, proxy_location="HeadOnly")
        yield nodes, second
    finally:
        serve.shutdown()
        ray.shutdown()
        nodes.shutdown()


def kill(node: Any) -> None:
    """SIGKILL to all processes of a node at once."""
    (raylet,) = node.all_processes["raylet"]
    for pid in [raylet.process.pid, *_descendants(raylet.process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [below for child in children for below in _descendants(child)]


def running() -> int:
    """Replicas that take requests."""
    (application,) = serve.status().applications.values()
    (deployment,) = application.deployments.values()
    return int(deployment.replica_states.get("RUNNING", 0))


async def load(url: str, texts: list[str], rate: float, seconds: float, begun: float) -> list[Request]:
    """Sends whether or not earlier requests are answered."""
    done: list[Request] = []

    def now() -> float:
        return time.perf_counter() - begun

    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60) as client:

        async def ask(text: str) -> None:
            sent, label = now(), None
            try:
                reply = await client.post(url + PATH, json={"inputs": text, "top_k": 1})
                outcome = str(reply.status_code)
                if reply.status_code == 200:
                    label = reply.json()["results"][0][0]["label"]
            except httpx.TransportError as error:
                outcome = type(error).__name__
            done.append(Request(sent, now(), outcome, text, label))

        asked = []
        for n in range(round(rate * seconds)):
            await asyncio.sleep(n // BURST * BURST / rate - now())
            asked.append(asyncio.create_task(ask(texts[n % len(texts)])))
        await asyncio.gather(*asked)
    return done


def one(application: Application, port: int, texts: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """One run: a third of the time whole, a third on one node, a third with a fresh one."""
    url = f"http://127.0.0.1:{port}"
    with cluster(port) as (nodes, second), ThreadPoolExecutor(1) as beside:
        serve.run(application, name="app")
        begun = time.perf_counter()
        loaded = beside.submit(lambda: asyncio.run(load(url, texts, rate, seconds, begun)))
        time.sleep(seconds / 6)
        inputs = asyncio.run(replicas(url))
        burst = math.ceil(seconds / 3 * rate / BURST) * BURST / rate
        time.sleep(burst + _INTO_BURST - (time.perf_counter() - begun))
        killed = time.perf_counter() - begun
        kill(second)
        time.sleep(seconds / 3)
        nodes.add_node(num_cpus=CORES)
        joined = time.perf_counter() - begun
        while running() < 2:
            time.sleep(0.05)
        whole = time.perf_counter() - begun
        done = loaded.result()
        return {"inputs_by_replica_before": sorted(inputs.values()), **figures(done, Marks(killed, joined, whole))}


async def replicas(url: str) -> dict[str, float]:
    """Inputs answered so far by each replica, told apart by how long its model took to load; empty for an
    application without metrics. Asked many times: which replica answers is for Ray to say."""
    found: dict[str, float] = {}
    async with httpx.AsyncClient(timeout=60) as client:
        for _ in range(10):
            for reply in await asyncio.gather(*(client.get(f"{url}/metrics") for _ in range(8))):
                replica = re.search(r"^pgb_model_load_seconds\S* (\S+)", reply.text, re.MULTILINE)
                if replica:
                    inputs = re.findall(r"^pgb_inputs_total\S* (\S+)", reply.text, re.MULTILINE)
                    found[replica[1]] = sum(map(float, inputs))
            if len(found) != 1:
                break
            await asyncio.sleep(0.1)
    return found


def figures(done: list[Request], marks: Marks) -> dict[str, Any]:
    """What the clients saw. `lost_in_flight` were sent before the kill, `lost_after` later."""
    bad = [request for request in done if request.outcome != "200"]
    labels: dict[str, set[str | None]] = {}
    for request in done:
        if request.outcome == "200":
            labels.setdefault(request.text, set()).add(request.label)
    last = max((request.ended for request in bad), default=marks.killed)
    phases = {
        "whole": (0.0, marks.killed),
        "first_5_s_after": (marks.killed, marks.killed + 5),
        "on_one_node": (marks.killed + 5, marks.joined),
        "whole_again": (marks.whole, float("inf")),
    }
    return {
        "sent": len(done),
        "answered": len(done) - len(bad),
        "in_flight_at_the_kill": sum(r.sent <= marks.killed < r.ended for r in done),
        "lost_in_flight": sum(r.sent <= marks.killed for r in bad),
        "lost_after": sum(r.sent > marks.killed for r in bad),
        "outcomes": dict(Counter(request.outcome for request in done)),
        "texts_with_different_answers": sum(len(found) > 1 for found in labels.values()),
        "seconds_from_kill_to_last_failure": round(last - marks.killed, 2),
        "longest_answer_seconds": round(max(r.ended - r.sent for r in done if r.outcome == "200"), 2),
        "seconds_from_new_node_to_two_replicas": round(marks.whole - marks.joined, 1),
        "answered_ms": {name: _milliseconds(done, *span) for name, span in phases.items()},
    }


def _milliseconds(done: list[Request], begin: float, end: float) -> dict[str, float] | None:
    took = [1e3 * (r.ended - r.sent) for r in done if r.outcome == "200" and begin <= r.sent < end]
    if len(took) < 2:
        return None
    return {"p50": round(statistics.median(took), 1), "p99": round(statistics.quantiles(took, n=100)[98], 1)}


def main() -> None:
    """The service, then the waiting application, in turn."""
    parser = script.parser(__doc__, "ray_kill")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rate", type=float, default=40, help="requests a second")
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.05, help="seconds that the other application waits")
    parser.add_argument("--port", type=int, default=18123)
    parser.add_argument("--only-service", action="store_true")
    args = parser.parse_args()
    texts = script.texts()
    random.Random(0).shuffle(texts)  # noqa: S311
    rounds: dict[str, list[dict[str, Any]]] = {"service": []}
    if not args.only_service:
        rounds["waiting"] = []
    for _ in range(args.rounds):
        for name, several in rounds.items():
            if name == "service":
                application = build({"artifacts": args.artifact.resolve(), "replicas": 2, "threads": CORES})
            else:
                application = waiting(args.wait)
            several.append(one(application, args.port, texts, args.rate, args.seconds))
            print(name, json.dumps(several[-1]), flush=True)
    result = {
        "machine": facts(),
        "ray": ray.__version__,
        "requests_per_second": args.rate,
        "seconds": args.seconds,
        "burst": BURST,
        "waiting_seconds": args.wait,
        "lost": {name: [r["lost_in_flight"] + r["lost_after"] for r in several] for name, several in rounds.items()},
        "rounds": rounds,
    }
    script.write(args.out, result)


if __name__ == "__main__":
    main()
