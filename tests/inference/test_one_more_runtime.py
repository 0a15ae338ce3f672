"""One more runtime is one file and one line: everything else learns of it from the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import pgb_core
from deploy.helm.settings_schema import settings_schema
from pgb_core.artifact import open_artifact
from pgb_core.inference.errors import RuntimeUnavailable
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.inference.steps import all_of
from service.app import create_app
from service.settings import Settings, SettingsError, read_settings
from tests.inference.recording_runtime import ENTRY, RecordingRuntime
from tests.made import rewritten


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RecordingRuntime]]:
    """The line, for this test; and every runtime of that kind that is opened meanwhile."""
    monkeypatch.setitem(RUNTIMES, "recording", ENTRY)
    monkeypatch.setattr(RecordingRuntime, "opened", [])
    return RecordingRuntime.opened


@pytest.fixture
def recorded(artifacts: tuple[Path, Path], tmp_path: Path) -> list[Path]:
    """Both artifacts, with one more form: for this runtime alone."""
    copies = []
    for path in artifacts:
        artifact = open_artifact(path)
        forms = artifact.manifest.forms
        record = replace(forms["fp32"], numbers="float24", runtimes=("recording",), devices=("cpu", "abacus"))
        copies.append(rewritten(artifact, tmp_path / path.name, {}, forms={**forms, "recorded": record}).path)
    return copies


def test_the_service_runs_on_it(opened: list[RecordingRuntime], recorded: list[Path]) -> None:
    """From the flag to the answer, in every place that names a runtime."""
    flags = ["--form", "recorded", "--device", "abacus", "--threads", "3"]
    with TestClient(create_app(read_settings([*map(str, recorded), *flags]))) as client:
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
            found = [shown[name] for name in ("runtime", "device", "form", "numbers", "why_form", "threads")]
            assert found == ["recording", "abacus", "recorded", "float24", "it was asked for", 3]
        assert client.get("/v2/models/mood").json()["platform"] == ENTRY.platform
        configuration = client.get("/v2/models/mood/config").json()
        assert (configuration["platform"], configuration["backend"]) == ENTRY.triton
        assert 'runtime="recording"' in client.get("/metrics").text
    assert labels.closed
    assert answers.closed


def test_a_notebook_runs_on_it(opened: list[RecordingRuntime], recorded: list[Path]) -> None:
    """With the same tokens as on any other; by its name, the form that it runs is found."""
    with pgb_core.load(recorded[0], device="abacus", runtime="recording") as model:
        (row,) = model.classify(["the film was dull"])
    assert [s.score for s in row] == [0.5, 0.5]
    (runtime,) = opened
    assert runtime.closed
    (wanted,) = all_of(model.tokenizer.texts(["the film was dull"]))
    assert runtime.asked[-1] == list(wanted.ids)
    assert (runtime.setup.form, runtime.setup.device) == ("recorded", "abacus")


def test_settings_and_chart_take_its_names(opened: list[RecordingRuntime]) -> None:
    """Its devices, too; what no runtime is called is refused in words."""
    schema = settings_schema()["properties"]
    assert "recording" in schema["runtime"]["enum"]
    assert "abacus" in schema["device"]["enum"]
    with pytest.raises(SettingsError, match="'openvino', 'torch' or 'recording'"):
        read_settings(["--runtime", "magic"])
    assert json.loads(Settings(runtime="recording").model_dump_json())["runtime"] == "recording"


def test_what_it_does_not_take_is_refused(opened: list[RecordingRuntime], recorded: list[Path]) -> None:
    """Though another runtime takes it."""
    with pytest.raises(RuntimeUnavailable, match="form fp32 is for runtime onnxruntime or openvino, not for recording"):
        pgb_core.load(recorded[0], "fp32", runtime="recording")
    with pytest.raises(RuntimeUnavailable, match="recording runs on the CPU and abacus only; set device cpu"):
        pgb_core.load(recorded[0], "recorded", device="cuda")
    assert opened == []
