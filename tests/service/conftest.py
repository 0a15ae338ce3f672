"""The application in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """The application with both models, in this process."""
    settings = Settings(
        artifacts=tuple(map(str, artifacts)), threads=1, max_body_bytes=20_000, max_items=8, max_characters=5_000
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as found:
        yield found
