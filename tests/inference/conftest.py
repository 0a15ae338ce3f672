"""A classifier and a QA model: loaded in this process, and served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import pgb_core
from pgb_core.inference.load import Loaded
from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="module")
def loaded(artifacts: tuple[Path, Path]) -> Iterator[tuple[Loaded, Loaded]]:
    """Classifier and QA model, on one thread."""
    with (
        pgb_core.load(artifacts[0], "fp32", threads=1) as labels,
        pgb_core.load(artifacts[1], "fp32", threads=1) as answers,
    ):
        yield labels, answers


@pytest.fixture(scope="module")
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """The application with the same models, which runs every input alone."""
    settings = Settings(artifacts=tuple(map(str, artifacts)), form="fp32", threads=1, max_batch_tokens=1)
    with TestClient(create_app(settings)) as found:
        yield found
