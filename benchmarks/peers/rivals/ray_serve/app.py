"""The application, in a Ray of its own. FastAPI reads the annotations, so they are not postponed."""

import os
import signal
import threading
from types import FrameType

import ray
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve.config import HTTPOptions

from benchmarks.peers.inside.classifier import BATCH, WAIT_SECONDS, Classifier

Scores = list[list[float]]
app = FastAPI()


class Texts(BaseModel):
    """The body of a request."""

    texts: list[str]


@serve.deployment(num_replicas=1, max_ongoing_requests=2 * BATCH, ray_actor_options={"num_cpus": 1})
@serve.ingress(app)
class Sentiment:
    """Labels texts."""

    def __init__(self) -> None:
        self.classifier = Classifier.from_environment()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def run(self, requests: list[list[str]]) -> list[Scores]:
        """All texts in one run, and then the rows of each request."""
        rows = iter(self.classifier([text for texts in requests for text in texts]))
        return [[next(rows) for _ in texts] for texts in requests]

    @app.post("/classify")
    async def classify(self, request: Texts) -> dict[str, Scores]:
        """The probability of each label, by text."""
        return {"scores": await self.run(request.texts)}


def main() -> None:
    """Serve until SIGTERM, which ends Serve and Ray."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=os.environ["RAY_TMPDIR"])
    signal.signal(signal.SIGTERM, end)
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=int(os.environ["PEERS_PORT"])),
        logging_config={"enable_access_log": False},
    )
    serve.run(Sentiment.bind(), route_prefix="/")  # type: ignore[attr-defined]
    ended.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
