"""The application."""

from __future__ import annotations

from threading import Lock

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peers.inside.classifier import Classifier

app = FastAPI()
classifier = Classifier.from_environment()
lock = Lock()


class Request(BaseModel):
    """The texts to label."""

    texts: list[str]


@app.get("/health")
def health() -> dict[str, bool]:
    """It takes requests."""
    return {"ready": True}


@app.post("/classify")
def classify(request: Request) -> dict[str, list[list[float]]]:
    """The probability of each label, by text."""
    with lock:
        return {"scores": classifier(request.texts)}
