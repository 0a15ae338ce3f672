"""While models load, when they do not, and when nobody waits for it any more."""

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pgb_core.artifact import Artifact
from pgb_core.inference.choose import Chosen
from pgb_core.inference.runtimes.base import Runtime
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from service.app import create_app
from service.errors import DeadlineExceeded, LoadFailed
from service.keys import make_key
from service.models import loader, model, repository
from service.models.folder import labels
from service.models.model import Model
from service.observe.metrics import clock
from service.settings import Settings
from tests.service.faults import Panic
from tests.service.sockets import until

ASKED = [
    ("POST", "/v1/classify", {"inputs": "the film"}),
    ("POST", "/v1/models/mood/classify", {"inputs": "the film"}),
    ("POST", "/v1/answer", {"question": "who sang", "context": "the town sang"}),
    ("POST", "/", {"inputs": "the film"}),
    ("POST", "/predict", {"inputs": "the film"}),
    ("POST", "/v2/models/mood/infer", {"inputs": []}),
    ("GET", "/v2/models/mood/ready", None),
    ("GET", "/health", None),
]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Models are made once it is set."""
    opened = threading.Event()

    def make(*args: Any) -> Model:
        assert opened.wait(20)
        return Model(*args)

    monkeypatch.setattr(loader, "Model", make)
    yield opened
    opened.set()


def test_what_comes_while_models_load_is_told_to_come_again(
    artifacts: tuple[Path, Path], gate: threading.Event
) -> None:
    """503 in every dialect, not that there is no such model; and life goes on."""
    settings = Settings(artifacts=tuple(map(str, artifacts)), threads=1)
    with TestClient(create_app(settings, background=True)) as client:
        for method, path, body in ASKED:
            reply = client.request(method, path, json=body)
            assert (path, reply.status_code) == (path, 503)
            assert "being loaded" in reply.text
        assert client.get("/v2/health/live").status_code == 200
        gate.set()
        while client.get("/health").status_code != 200:
            pass
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
        assert client.post("/v1/models/none/classify", json={"inputs": "the film"}).status_code == 404


def broken(*args: object) -> Model:
    """What a library may do."""
    raise RuntimeError("unforeseen")


def panicking(*args: object) -> Model:
    """What the tokenizers' library may do."""
    raise Panic("unforeseen")


def unanswered(*args: object) -> Model:
    """What reading a mounted folder may do whose server does not answer."""
    raise OSError(errno.ETIMEDOUT, "Connection timed out")


@pytest.mark.parametrize(
    ("make", "error"), [(broken, "RuntimeError"), (panicking, "Panic"), (unanswered, "TimeoutError")]
)
def test_whatever_goes_wrong_while_loading_ends_the_start(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, make: Callable[..., Model], error: str
) -> None:
    """At once and with the kind of error; nothing waits for ever."""
    monkeypatch.setattr(loader, "Model", make)
    app = create_app(Settings(artifacts=(str(artifacts[0]),), max_load_seconds=20))
    with pytest.raises(LoadFailed, match=rf"does not load \({error}\)"), TestClient(app):
        pass
    assert app.state.lifecycle.loaded.is_set()


def test_what_cannot_be_served_is_told_before_it_is_loaded(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second model of a name at the start, and later a version for another task."""
    made: list[str] = []

    def make(artifact: Artifact, name: str, *more: Any) -> Model:
        made.append(name)
        return Model(artifact, name, *more)

    monkeypatch.setattr(loader, "Model", make)
    first = str(artifacts[0])
    app = create_app(Settings(artifacts=(first, first), threads=1))
    with pytest.raises(LoadFailed, match="another artifact is named mood; give this one a name"), TestClient(app):
        pass
    with (
        pytest.raises(LoadFailed, match="/none: "),
        TestClient(create_app(Settings(artifacts=(first, str(tmp_path / "none")), threads=1))),
    ):
        pass
    assert made == []
    shutil.copytree(artifacts[1], tmp_path / "mood" / "2")
    app = create_app(Settings(artifacts=(first,), models_dir=tmp_path, threads=1))
    with TestClient(app), pytest.raises(LoadFailed, match="the new version is for qa"):
        asyncio.run(app.state.repository.load("mood"))
    assert made == ["mood"]


def test_a_model_s_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one of many, and the start ends with it."""

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(LoadFailed, match=r"/mood: cannot be read \(permission denied\)"):
        labels(tmp_path, "mood")


@pytest.mark.parametrize(("name", "reason"), [("none", "no such file"), ("file", "not a directory")])
@pytest.mark.parametrize("beside", [False, True])
def test_a_folder_of_models_that_cannot_be_read_ends_the_start(
    artifacts: tuple[Path, Path], tmp_path: Path, beside: bool, name: str, reason: str
) -> None:
    """The message names it. Also where artifacts are given beside it, from which the first load would be refused."""
    (tmp_path / "file").touch()
    given = (str(artifacts[0]),) if beside else ()
    app = create_app(Settings(artifacts=given, models_dir=tmp_path / name, threads=1))
    with (
        pytest.raises(LoadFailed, match=rf"models_dir: .*{name} cannot be read as a folder \({reason}"),
        TestClient(app),
    ):
        pass


@pytest.mark.parametrize("look", ["check", "passed_over", "folders", "labels", "find"])
def test_a_folder_of_models_that_does_not_answer_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """As where a mount has gone away. The process would neither serve nor end."""
    (tmp_path / "mood" / "1").mkdir(parents=True)
    (tmp_path / "mood" / "1" / "manifest.json").touch()
    answering = threading.Event()
    monkeypatch.setattr(repository, look, lambda *_: answering.wait(20))
    app = create_app(Settings(models_dir=tmp_path, max_load_seconds=0.2))
    try:
        with (
            pytest.raises(LoadFailed, match=r"the folder of models does not answer within 0\.2 seconds"),
            TestClient(app),
        ):
            pass
    finally:
        answering.set()


def test_a_version_that_failed_leaves_the_index_once_it_is_unloaded_or_gone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is still there is listed like others that are not loaded."""
    key = make_key(tmp_path / "keys", "root", "admin")
    settings = Settings(
        artifacts=(f"mood={folder / 'mood' / '1'}",), models_dir=folder, keys_file=tmp_path / "keys", threads=1
    )
    for name in ("bad", "worse"):
        shutil.copytree(folder / "mood" / "2", folder / "mood" / name)
    with TestClient(create_app(settings), headers={"x-api-key": key}) as client:

        def reasons() -> dict[str, str]:
            found = client.post("/v2/repository/index").json()
            return {one["version"]: one["reason"].partition(" ")[0] for one in found if one["version"] != "1"}

        monkeypatch.setattr(loader, "Model", broken)
        for version in ("bad", "worse"):
            assert client.post("/v1/models/mood/load", json={"version": version}).status_code == 424
        failed = reasons()
        assert failed["2"] == "unloaded"
        assert "unloaded" not in (failed["bad"], failed["worse"])
        assert client.post("/v1/models/mood/unload", json={"version": "bad"}).status_code == 204
        assert reasons()["bad"] == "unloaded"
        shutil.rmtree(folder / "mood" / "worse")
        assert "worse" not in reasons()
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
        assert client.post("/v1/models/mood/unload", json={"version": "worse"}).status_code == 404
        assert client.post("/v1/models/mood/load", json={"version": "bad"}).status_code == 424
        assert reasons()["bad"] != "unloaded"
        assert client.post("/v1/models/mood/unload").status_code == 204  # all of the name
        assert reasons()["bad"] == "unloaded"
        assert client.post("/v1/models/mood/load", json={"version": "bad"}).status_code == 424
        assert client.post("/v1/models/mood/unload").status_code == 204  # nothing of it is served
        assert client.post("/v1/models/mood/unload").status_code == 404


def test_a_version_that_does_not_load_does_not_keep_those_before_it_from_starting(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor one that is being copied, of which only some files are there. Both are told, listed and counted."""
    shutil.copytree(folder / "mood" / "2", folder / "mood" / "10", ignore=shutil.ignore_patterns("model*.onnx"))
    shutil.copytree(folder / "mood" / "2", folder / "mood" / ".11")
    with TestClient(create_app(Settings(models_dir=folder, threads=1))) as client:
        assert client.get("/health").json()["models"] == [{"name": "mood", "version": "2"}]
        states = [(one["version"], one["state"]) for one in client.get("/v1/models").json()["states"]]
        assert states == [("2", "READY"), ("10", "UNAVAILABLE"), ("3", "UNAVAILABLE")]
        assert 'pgb_model_events_total{event="failure",model="mood"} 2.0' in client.get("/metrics").text
    said = [record.fields for record in caplog.records if record.message == "a version does not load"]  # type: ignore[attr-defined]
    assert [one["version"] for one in said] == ["10", "3"]


def test_a_model_of_which_no_version_loads_ends_the_start(folder: Path) -> None:
    """With the reason of the latest: requests that name no model would go to another one."""
    for version in ("1", "2"):
        (folder / "mood" / version / "tokenizer.json").unlink()
    with (
        pytest.raises(LoadFailed, match=r"mood/3: model\.onnx is not the file.*; none of the 3 versions loads"),
        TestClient(create_app(Settings(models_dir=folder, threads=1))),
    ):
        pass


def administered(folder: Path, work: Callable[[FastAPI], Coroutine[Any, Any, None]], **more: Any) -> None:
    """Run `work` beside an application that serves version 1 of a folder's model."""
    app = create_app(Settings(artifacts=(f"mood={folder / 'mood' / '1'}",), models_dir=folder, threads=1, **more))

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            await work(app)

    asyncio.run(scenario())


def test_a_version_that_breaks_while_it_loads_is_424_and_listed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error; what was served is served on."""
    key = make_key(tmp_path / "keys", "root", "admin")
    settings = Settings(
        artifacts=(f"mood={folder / 'mood' / '1'}",), models_dir=folder, keys_file=tmp_path / "keys", threads=1
    )
    with TestClient(create_app(settings), headers={"x-api-key": key}, raise_server_exceptions=False) as client:
        monkeypatch.setattr(loader, "Model", broken)
        reply = client.post("/v1/models/mood/load", json={"version": "2"})
        assert reply.status_code == 424
        states = client.get("/v1/models").json()["states"]
        assert [(s["version"], s["state"]) for s in states if s["version"] == "2"] == [("2", "UNAVAILABLE")]
        assert 'pgb_model_events_total{event="failure",model="mood"} 1.0' in client.get("/metrics").text
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200


def test_a_load_that_has_begun_ends_whoever_waits_for_it(folder: Path, gate: threading.Event) -> None:
    """An administrator who leaves changes nothing: the version is served, and what it replaced is retired."""
    gate.set()

    async def work(app: FastAPI) -> None:
        models, registry = app.state.repository, app.state.engine.registry
        before = registry.peek("mood")
        gate.clear()
        with before.in_use():
            asked = asyncio.create_task(models.load("mood", "2"))
            while not any(state.state == "LOADING" for state in models.index()):
                await asyncio.sleep(0.001)
            asked.cancel()
            await asyncio.wait([asked])
            gate.set()
            while registry.peek("mood").version != "2":
                await asyncio.sleep(0.001)
            again = asyncio.create_task(models.load("mood", "1"))  # waits until the first is gone
            await asyncio.sleep(0.01)
            again.cancel()
            await asyncio.wait([again])
        while [(state.version, state.state) for state in models.index()] != [("1", "READY")]:
            await asyncio.sleep(0.001)
        assert not hasattr(before.runtime, "_session")

    administered(folder, work)


def test_a_version_whose_batch_does_not_end_is_stopped_when_it_is_replaced(folder: Path) -> None:
    """Then the next version can be loaded."""
    stopped = threading.Event()

    def stand_still(_: object) -> list[Logits]:
        assert stopped.wait(30)
        raise RuntimeError("it was stopped")

    async def work(app: FastAPI) -> None:
        models, registry = app.state.repository, app.state.engine.registry
        before = registry.peek("mood")
        before.batcher._run = stand_still
        before.runtime.stop = stopped.set
        with pytest.raises(DeadlineExceeded):
            await before.batcher.submit([before._filler(4)], clock() + 0.1)
        try:
            await models.load("mood", "2")
            await asyncio.wait_for(models.load("mood", "1"), 20)
            assert stopped.is_set()
        finally:
            stopped.set()

    administered(folder, work, max_request_seconds=1)


class Closing:
    """A runtime that stands still once it is chosen, until it is stopped; a closed one cannot be stopped."""

    device, threads = "cpu", 1

    def __init__(self) -> None:
        self.stopped, self.closed = threading.Event(), False

    def run(self, batch: Sequence[Tokens]) -> list[Logits]:
        """Nothing comes of it."""
        assert self.stopped.wait(20)
        raise RuntimeError("it was stopped")

    def stop(self) -> None:
        """What waits may end."""
        if self.closed:
            raise AttributeError("it is closed")
        self.stopped.set()

    def close(self) -> None:
        """It has nothing to stop any more."""
        self.closed = True


def test_a_load_that_is_given_up_stops_the_runtime_that_was_chosen(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another form was tried after it, and closed."""
    chosen, later = Closing(), Closing()

    def choose(_: object, __: object, opened: Callable[[Runtime], None]) -> Chosen:
        opened(chosen)
        opened(later)
        later.close()
        return Chosen("fp32", "onnxruntime", chosen, 0.0, "it was faster", {})

    monkeypatch.setattr(model, "choose", choose)
    app = create_app(Settings(artifacts=(str(artifacts[0]),), max_load_seconds=0.3))
    with pytest.raises(LoadFailed, match="did not load within"), TestClient(app):
        pass
    assert chosen.stopped.is_set()


def test_a_version_loaded_anew_keeps_its_figures(folder: Path) -> None:
    """What is retired has the same name and number as what replaces it."""

    async def work(app: FastAPI) -> None:
        models = app.state.repository
        await models.load("mood", "2")
        await models.load("mood", "2")
        while len(models.index()) > 1:
            await asyncio.sleep(0.001)
        text = app.state.instruments.text().decode()
        assert 'pgb_model_load_seconds{model="mood",version="2"}' in text
        assert 'version="1"' not in text

    administered(folder, work)


def test_a_version_is_listed_once_while_it_is_loaded_again(folder: Path, gate: threading.Event) -> None:
    """As ready: it answers all the time, before and after it is replaced."""
    gate.set()

    async def work(app: FastAPI) -> None:
        models = app.state.repository
        before = await models.load("mood", "2")
        while len(models.index()) > 1:
            await asyncio.sleep(0.001)
        gate.clear()
        with before.in_use():
            again = asyncio.create_task(models.load("mood", "2"))
            await asyncio.sleep(0.05)
            while_loading = models.index()
            gate.set()
            assert await again is not before
            while_unloading = models.index()
        for states in (while_loading, while_unloading):
            assert [(state.version, state.state) for state in states] == [("2", "READY")]

    administered(folder, work)


def test_a_folder_without_models_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The service is ready all the same: models may come later."""
    with TestClient(create_app(Settings(models_dir=tmp_path))) as client:
        assert client.get("/health").status_code == 200
    (said,) = [record for record in caplog.records if "folder of models" in record.message]
    assert said.levelname == "WARNING"


def test_an_artifact_in_place_of_a_folder_of_them_ends_the_start(artifacts: tuple[Path, Path]) -> None:
    """Nothing would be served, and the service would be ready."""
    with pytest.raises(LoadFailed, match="is an artifact, and no folder of them"):
        TestClient(create_app(Settings(models_dir=artifacts[0]))).__enter__()


def test_an_artifact_that_no_name_leads_to_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a word, requests that name no model would go to another one. What is hidden is left out on purpose."""
    for name in ("my mood", "mood/2 (old)", "mood/.3", ".old/my mood", "lost+found/deep/er"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "lost+found" / "file").touch()
    with pytest.raises(LoadFailed, match="mood: holds no artifact"):
        TestClient(create_app(Settings(models_dir=tmp_path))).__enter__()
    said = [record.fields["path"] for record in caplog.records if "passed over" in record.message]  # type: ignore[attr-defined]
    assert said == [str(tmp_path / "mood" / "2 (old)"), str(tmp_path / "my mood")]


def test_an_administrator_waits_until_the_start_is_over(folder: Path, gate: threading.Event, tmp_path: Path) -> None:
    """Else the start would put the version that it loads in place of the one that was asked for."""
    secret = make_key(tmp_path / "keys", "root", "admin")
    settings = Settings(models_dir=folder, keys_file=tmp_path / "keys", threads=1)
    headers = {"authorization": f"Bearer {secret}"}
    with TestClient(create_app(settings, background=True), headers=headers) as client:
        for path in ("/v1/models/mood/load", "/v2/repository/models/mood/load"):
            reply = client.post(path, json={})
            assert (reply.status_code, "being loaded" in reply.text) == (503, True)
        gate.set()


def test_an_artifact_that_is_replaced_while_it_loads_is_not_served(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels may be of one model, and its graph of another."""
    shutil.copytree(artifacts[0], tmp_path / "mood")

    def make(artifact: Artifact, *args: Any) -> Model:
        made = Model(artifact, *args)
        manifest = artifact.path / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"name"', ' "name"', 1))
        return made

    monkeypatch.setattr(loader, "Model", make)
    app = create_app(Settings(artifacts=(str(tmp_path / "mood"),), threads=1))
    with pytest.raises(LoadFailed, match="was replaced while it was read"), TestClient(app):
        pass


def test_what_a_model_that_still_loads_would_answer_waits_for_it(
    artifacts: tuple[Path, Path], labelled: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and not that no model ranks, although one of the same task is there already."""
    opened = threading.Event()

    def make(artifact: Artifact, name: str, *args: Any) -> Model:
        assert name != "rank" or opened.wait(20)
        return Model(artifact, name, *args)

    monkeypatch.setattr(loader, "Model", make)
    named = (f"mood={artifacts[0]}", f"rank={labelled('relevant').path}")
    body = {"query": "who sang", "texts": ["the film was dull", "the town sang a song"]}
    with TestClient(create_app(Settings(artifacts=named, threads=1), background=True)) as client:
        until(lambda: client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200, 20)
        assert client.post("/rerank", json=body).status_code == 503
        opened.set()
        until(lambda: client.get("/health").status_code == 200, 20)
        assert client.post("/rerank", json=body).status_code == 200
