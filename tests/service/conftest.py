"""The application in this process, models for it to load, and one that is held up at will."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pgb_core.inference.choose import Chosen
from service.app import create_app
from service.models import model
from service.settings import Settings
from tests.service.faults import Held
from tests.service.sockets import running


@pytest.fixture
def client(artifacts: tuple[Path, Path]) -> Iterator[TestClient]:
    """The application with both models, in this process."""
    settings = Settings(
        artifacts=tuple(map(str, artifacts)), threads=1, max_body_bytes=20_000, max_items=8, max_characters=5_000
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture
def folder(artifacts: tuple[Path, Path], tmp_path: Path) -> Path:
    """A folder of models: `mood` in versions 1 and 2, whose labels differ, and a damaged 3."""
    for version in ("1", "2", "3"):
        copy = tmp_path / "models" / "mood" / version
        shutil.copytree(artifacts[0], copy)
        manifest = json.loads((copy / "manifest.json").read_text())
        manifest["labels"] = [f"{label}-of-{version}" for label in manifest["labels"]]
        if version == "3":
            manifest["files"]["model.onnx"] = hashlib.sha256(b"").hexdigest()
        (copy / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "models"


@pytest.fixture
def held(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[str, Held]]:
    """A server on a real socket whose classifier is held up at will. parameter: its longest wait, or settings."""
    runtime = Held()
    chosen = Chosen("fp32", "onnxruntime", runtime, 0.0, "it is held", {})
    monkeypatch.setattr(model, "choose", lambda *_: chosen)
    given = getattr(request, "param", 3600.0)
    more = given if isinstance(given, dict) else {"max_queue_seconds": given}
    settings = Settings(artifacts=(str(artifacts[0]),), max_queue_tokens=2000, **more)
    with running(settings) as url:
        runtime.batches.clear()
        try:
            yield url, runtime
        finally:
            runtime.go.set()
