"""One more runtime is one file and one line: everything else learns of it from the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import pgb_core
from deploy.helm.settings_schema import settings_schema
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.inference.steps import all_of
from service.app import create_app
from service.settings import Settings, SettingsError, read_settings
from tests.inference.recording_runtime import ENTRY, RecordingRuntime


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RecordingRuntime]]:
    """The line, for this test; and every runtime of that kind that is opened meanwhile."""
    monkeypatch.setitem(RUNTIMES, "recording", ENTRY)
    monkeypatch.setattr(RecordingRuntime, "opened", [])
    return RecordingRuntime.opened


def test_the_service_runs_on_it(opened: list[RecordingRuntime], artifacts: tuple[Path, Path]) -> None:
    """From the flag to the answer, in every place that names a runtime."""
    flags = ["--runtime", "recording", "--device", "abacus", "--precision", "float24", "--threads", "3"]
    with TestClient(create_app(read_settings([*map(str, artifacts), *flags]))) as client:
        labels, answers = opened
        before = len(labels.asked)
        reply = client.post("/v1/classify", json={"inputs": ["the film was dull", "good"]})
        assert reply.status_code == 200
        assert {s["score"] for row in reply.json()["results"] for s in row} == {0.5}  # softmax of two zeros
        assert len(labels.asked) == before + 2
        before = len(answers.asked)
        assert client.post("/v1/answer", json={"question": "who", "context": "the town sang"}).status_code == 200
        assert len(answers.asked) == before + 1
        for shown in client.get("/v1/models").json()["models"]:
            found = [shown[name] for name in ("runtime", "device", "precision", "threads")]
            assert found == ["recording", "abacus", "float24", 3]
        assert client.get("/v2/models/mood").json()["platform"] == ENTRY.platform
        configuration = client.get("/v2/models/mood/config").json()
        assert (configuration["platform"], configuration["backend"]) == ENTRY.triton
        assert 'runtime="recording"' in client.get("/metrics").text
    assert labels.closed
    assert answers.closed


def test_a_notebook_runs_on_it(opened: list[RecordingRuntime], artifacts: tuple[Path, Path]) -> None:
    """With the same tokens as on any other."""
    with pgb_core.load(artifacts[0], "recording", "abacus") as model:
        (row,) = model.classify(["the film was dull"])
    assert [s.score for s in row] == [0.5, 0.5]
    (runtime,) = opened
    assert runtime.closed
    (wanted,) = all_of(model.tokenizer.texts(["the film was dull"]))
    assert runtime.asked[-1] == list(wanted.ids)
    assert runtime.setup.device == "abacus"


def test_settings_and_chart_take_its_names(opened: list[RecordingRuntime]) -> None:
    """Its devices and precisions, too; what it does not take is refused in words."""
    schema = settings_schema()["properties"]
    assert "recording" in schema["runtime"]["enum"]
    assert "abacus" in schema["device"]["enum"]
    assert "float24" in schema["precision"]["enum"]
    with pytest.raises(SettingsError, match="'openvino', 'torch' or 'recording'"):
        read_settings(["--runtime", "magic"])
    assert json.loads(Settings(runtime="recording").model_dump_json())["runtime"] == "recording"


def test_what_it_does_not_take_is_refused(opened: list[RecordingRuntime], artifacts: tuple[Path, Path]) -> None:
    """Though another runtime takes it."""
    with pytest.raises(
        RuntimeUnavailable, match="recording runs these graphs in float32 and float24 only; set precision float32"
    ):
        pgb_core.load(artifacts[0], "recording", precision="bfloat16")
    with pytest.raises(RuntimeUnavailable, match="recording runs on the CPU and abacus only; set device cpu"):
        pgb_core.load(artifacts[0], "recording", device="cuda")
    assert opened == []
