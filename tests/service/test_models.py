"""Many models and versions: loading, switching, splitting, retiring, while serving."""

import asyncio
import gc
import json
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from pgb_core.artifact import Artifact
from service.app import create_app
from service.errors import LoadFailed
from service.keys import make_key
from service.models import names as names_of_models
from service.models import repository
from service.models.folder import find, labels, loadable
from service.models.model import Model
from service.observe import shared
from service.settings import Settings
from tests.service.hostile import MARK


@pytest.fixture
def admin(folder: Path, artifacts: tuple[Path, Path], tmp_path: Path) -> Iterator[TestClient]:
    """A client that may administer; version 1 is served."""
    keys = tmp_path / "keys"
    secret = make_key(keys, "root", "admin")
    settings = Settings(
        artifacts=(f"mood={folder / 'mood' / '1'}", str(artifacts[1])), models_dir=folder, keys_file=keys, threads=1
    )
    headers = {"authorization": f"Bearer {secret}"}
    with TestClient(create_app(settings), headers=headers, raise_server_exceptions=False) as client:
        yield client


def label(client: TestClient, **more: object) -> str:
    """The version that answered, by its labels."""
    body = client.post("/v1/classify", json={"inputs": "the film", **more}).json()
    return str(body["results"][0][0]["label"]).rpartition("-of-")[2]


def names(client: TestClient) -> list[tuple[str, str]]:
    """Served names and labels' versions."""
    found = client.get("/v1/models").json()["models"]
    return [(m["name"], m["version"]) for m in found]


def test_a_model_whose_last_token_is_that_of_padding_is_served(few_words: Artifact) -> None:
    """It measures itself with a token that it has, and is probed with it."""
    with TestClient(create_app(Settings(artifacts=(str(few_words.path),), threads=1))) as client:
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
        assert client.get("/health").status_code == 200


def test_the_log_says_who_changed_what_of_a_model(
    caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    """A load as at start, with the form and why, and with the shares; what is refused has changed nothing."""
    caplog.set_level("INFO", "pgb")  # before the start
    admin: TestClient = request.getfixturevalue("admin")
    at, v2 = "/v1/models/mood", "/v2/repository/models/mood"

    def told() -> list[tuple[str, dict[str, object]]]:
        found = [(record.message, getattr(record, "fields", {})) for record in caplog.records]
        return [one for one in found if one[0].startswith(("model", "traffic"))]

    def said(method: str, path: str, body: object) -> tuple[str, dict[str, object]]:
        caplog.clear()
        assert admin.request(method, path, json=body).status_code in (200, 204)
        (found,) = told()
        return found

    start = told()[0][1]
    message, loaded = said("POST", f"{at}/load", {"version": "2", "share": 0.25})
    assert message == "model ready"
    assert loaded == {**start, "version": "2", "shares": {"2": 0.25, "1": 0.75}, "key": "root"}
    split = said("PUT", f"{at}/split", {"weights": {"2": 3, "1": 1}})
    assert split == ("traffic split", {"model": "mood", "shares": {"2": 0.75, "1": 0.25}, "key": "root"})
    for method, path, body in (
        *(("POST", f"{at}/load", {"version": MARK}), ("PUT", f"{at}/split", {"weights": {MARK: 1}})),
        *(("POST", f"{at}/unload", {"version": MARK}), ("POST", f"/v1/models/{MARK}/unload", {})),
    ):
        caplog.clear()
        assert admin.request(method, path, json=body).status_code == 404
        assert not told()
        assert MARK not in str([vars(one) for one in caplog.records if one.name == "pgb"])
    unloaded = {"model": "mood", "versions": ["1"], "shares": {"2": 1.0}, "key": "root"}
    assert said("POST", f"{at}/unload", {"version": "1"}) == ("model unloaded", unloaded)
    unloaded = {"model": "mood", "versions": ["2"], "shares": {}, "key": "root"}
    assert said("POST", f"{v2}/unload", {}) == ("model unloaded", unloaded)


@pytest.mark.slow
def test_a_version_of_the_folder_that_is_named_at_start_has_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its path is written. Under another name, or from another place, it has a number of its own."""
    monkeypatch.chdir(folder / "mood")
    shutil.copytree("1", tmp_path / "mood" / "1")
    for given, found in (
        *((f"mood={folder / 'mood' / '1'}", True), ("mood=1", True), (f"mood={folder}/mood/../mood/1/", True)),
        *(("1", True), ("else=1", False), (f"mood={tmp_path / 'mood' / '1'}", False)),
    ):
        with TestClient(create_app(Settings(artifacts=(given,), models_dir=folder, threads=1))) as client:
            ((_, version),) = names(client)
            assert (given, version == "1") == (given, found)


def test_a_new_version_takes_over_and_the_old_one_is_retired(admin: TestClient) -> None:
    """After a load the traffic goes to the version named, and the one before is gone."""
    before = names(admin)
    assert label(admin) == "1"
    assert admin.post("/v1/models/mood/load", json={"version": "2"}).json()["version"] == "2"
    assert label(admin) == "2"
    assert ("mood", "2") in names(admin)
    assert before[0] not in names(admin)
    assert 'pgb_model_events_total{event="swap",model="mood"} 1.0' in admin.get("/metrics").text


@pytest.mark.parametrize("path", ["/v1/models/mood/load", "/v2/repository/models/mood/load"])
def test_a_version_that_does_not_load_changes_nothing(admin: TestClient, path: str) -> None:
    """The damaged latest version is refused with the reason, and the old one serves on."""
    reply = admin.post(path, json={"version": "3"} if path.startswith("/v1") else {})
    assert reply.status_code == 424
    assert "sha256" in reply.text
    assert label(admin) == "1"
    states = {(s["version"], s["state"]) for s in admin.post("/v2/repository/index", json={}).json()}
    assert ("3", "UNAVAILABLE") in states
    assert admin.get("/health").status_code == 200


def failures(client: TestClient) -> dict[tuple[str, str], str]:
    """The versions that are listed as failed, with the reasons; the lists of both dialects agree."""
    found = client.get("/v1/models").json()["states"]
    failed = [one for one in found if one["state"] == "UNAVAILABLE"]
    listed = client.post("/v2/repository/index", json={})
    if listed.status_code == 200:
        assert [one for one in failed if one not in listed.json()] == []
    return {(one["name"], one["version"]): one["reason"] for one in failed}


def counted(client: TestClient) -> dict[str, float]:
    """Loads that failed, by model."""
    found = re.findall(r'pgb_model_events_total\{event="failure",model="(\w*)"\} (\S+)', client.get("/metrics").text)
    return {model: float(count) for model, count in found}


def test_where_a_version_lies_is_told_to_the_log_alone(
    admin: TestClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And to who loads it. Lists, which every key may read, have its name in place of the path."""
    reply = admin.post("/v1/models/mood/load", json={"version": "3"})
    where = str(folder / "mood" / "3")
    assert where in reply.json()["error"]["message"]
    reason = failures(admin)["mood", "3"]
    assert reason.startswith("mood 3: model.onnx is not the file")
    assert str(folder) not in admin.get("/v1/models").text
    (said,) = [record for record in caplog.records if record.message == "a version does not load"]
    assert said.fields["reason"].startswith(where)  # type: ignore[attr-defined]


def test_the_names_that_routes_hide_are_known(admin: TestClient) -> None:
    """Those with which the path of a model would be that of another route."""
    routes = [route for route in admin.app.routes if isinstance(route, APIRoute)]  # type: ignore[attr-defined]
    fixed = [route.path for route in routes if not route.param_convertors]
    found = [match for route in routes for path in fixed if (match := route.path_regex.match(path))]
    assert {match["name"] for match in found if "name" in match.groupdict()} == names_of_models.RESERVED


@pytest.mark.parametrize("name", ["stats", ".", "..", "a/b", "a:predict", "a:explain"])
def test_a_name_that_routes_would_not_find_is_refused(folder: Path, name: str) -> None:
    """At the start, whoever gives it: the command, or the artifact."""
    artifact = folder / "mood" / "1"
    manifest = json.loads((artifact / "manifest.json").read_text())
    (artifact / "manifest.json").write_text(json.dumps({**manifest, "name": name}))
    plain = name.isalpha() or name.startswith(".")
    for given in [str(artifact), *([f"{name}={artifact}"] if plain else [])]:
        app = create_app(Settings(artifacts=(given,), threads=1))
        with pytest.raises(LoadFailed, match=re.escape(f"{artifact}: no model can be named {name}")), TestClient(app):
            pass


def test_a_path_with_a_sign_of_equality_is_not_taken_for_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`keep=1` is a folder here, and so is `1`; the message has both ways to say which is meant."""
    monkeypatch.chdir(folder / "mood")
    Path("2").rename("keep=1")
    with (
        pytest.raises(LoadFailed, match=r"write \./keep=1 for what is there, or keep=\./1"),
        TestClient(create_app(Settings(artifacts=("keep=1",), threads=1))),
    ):
        pass
    for given, version in (("./keep=1", "2"), ("keep=./1", "1")):
        with TestClient(create_app(Settings(artifacts=(given,), threads=1))) as client:
            assert label(client) == version


def test_a_folder_of_a_name_that_routes_would_not_find_is_not_loaded(admin: TestClient, folder: Path) -> None:
    """The reason says what to do."""
    shutil.copytree(folder / "mood" / "1", folder / "stats" / "1")
    reply = admin.post("/v1/models/stats/load", json={})
    assert reply.status_code == 424
    assert "rename its folder" in reply.json()["error"]["message"]


def test_a_version_for_another_task_is_refused_listed_and_counted(
    admin: TestClient, folder: Path, artifacts: tuple[Path, Path]
) -> None:
    """Like any other that does not load."""
    shutil.copytree(artifacts[1], folder / "mood" / "4")
    reply = admin.post("/v1/models/mood/load", json={"version": "4"})
    assert (reply.status_code, label(admin)) == (424, "1")
    assert failures(admin) == {("mood", "4"): "mood: the new version is for qa, unlike the one that is served"}
    assert counted(admin) == {"mood": 1.0}


def test_a_folder_that_cannot_be_read_is_a_load_that_fails(admin: TestClient, folder: Path) -> None:
    """Listed and counted for a model that is known; of a name that somebody sent, only that it failed. It is over once
    a version loads."""
    folder.rename(folder.with_name("away"))
    for name in ("mood", "zq7marker7qz"):
        assert admin.post(f"/v1/models/{name}/load", json={"version": "2"}).status_code == 424
    assert failures(admin) == {("mood", ""): "the folder of models cannot be read"}
    assert counted(admin) == {"mood": 1.0, "": 1.0}
    folder.with_name("away").rename(folder)
    assert admin.post("/v1/models/mood/load", json={"version": "2"}).status_code == 200
    assert failures(admin) == {}


def test_traffic_is_split_as_the_weights_say(admin: TestClient) -> None:
    """A canary gets its share, exactly over any run of requests, and each version can still be named."""
    first = names(admin)[0][1]
    assert admin.post("/v1/models/mood/load", json={"version": "2", "share": 0.25}).status_code == 200
    assert Counter(label(admin) for _ in range(40)) == {"1": 30, "2": 10}
    assert label(admin, model="mood", version="2") == "2"
    assert admin.put("/v1/models/mood/split", json={"weights": {first: 1, "2": 1}}).status_code == 204
    assert Counter(label(admin) for _ in range(10)) == {"1": 5, "2": 5}
    assert admin.post("/v1/models/mood/unload", json={"version": first}).status_code == 204
    assert {label(admin) for _ in range(3)} == {"2"}


def test_a_version_without_traffic_is_kept_until_one_gets_all_of_it(admin: TestClient) -> None:
    """The version that has all the traffic is loaded again with a part of it: the other one is there to go back to."""
    first = names(admin)[0][1]
    assert admin.post("/v1/models/mood/load", json={"version": "2", "share": 0.1}).status_code == 200
    assert admin.put("/v1/models/mood/split", json={"weights": {"2": 1}}).status_code == 204
    assert admin.post("/v1/models/mood/load", json={"version": "2", "share": 0.5}).status_code == 200
    assert {label(admin) for _ in range(4)} == {"2"}
    assert admin.put("/v1/models/mood/split", json={"weights": {first: 1}}).status_code == 204
    assert {label(admin) for _ in range(4)} == {"1"}
    assert admin.post("/v1/models/mood/load", json={"version": "2"}).status_code == 200
    assert ("mood", first) not in names(admin)


def test_a_share_that_is_rounded_to_nothing_is_none(admin: TestClient) -> None:
    """The other version has all the traffic. Once it is unloaded, this one gets all of it."""
    first = names(admin)[0][1]
    assert admin.post("/v1/models/mood/load", json={"version": "2", "share": 0.5}).status_code == 200
    assert admin.put("/v1/models/mood/split", json={"weights": {first: 1e6, "2": 5e-324}}).status_code == 204
    assert admin.post("/v1/models/mood/load", json={"version": first, "share": 0.5}).status_code == 200
    assert {label(admin) for _ in range(4)} == {"1"}
    assert admin.post("/v1/models/mood/unload", json={"version": first}).status_code == 204
    assert label(admin) == "2"


@pytest.mark.parametrize(
    ("weights", "status"),
    [({}, 422), ({"9": 1}, 404), *(({"2": share}, 422) for share in (0, -1, "x", "1", True, None))],
)
def test_shares_that_cannot_be_are_refused(admin: TestClient, weights: dict[str, object], status: int) -> None:
    """Unknown versions, nothing, zero, negative, not a number."""
    admin.post("/v1/models/mood/load", json={"version": "2"})
    assert admin.put("/v1/models/mood/split", json={"weights": weights}).status_code == status


def test_a_version_in_the_address_is_not_passed_over(admin: TestClient) -> None:
    """Without it, all versions would be unloaded, or the latest would get all of the traffic."""
    before = names(admin)
    for what in ("unload?version=2", "load?version=2", "load?share=0.1"):
        for body in ({}, {"json": {}}):
            assert admin.post(f"/v1/models/mood/{what}", **body).status_code == 422
    assert names(admin) == before


def test_an_unloaded_model_is_unknown_until_it_is_loaded_again(admin: TestClient) -> None:
    """Through the v2 repository calls."""
    assert admin.post("/v2/repository/models/mood/unload", json={}).status_code == 200
    assert admin.post("/v1/classify", json={"inputs": "the film"}).status_code == 404
    assert admin.get("/v2/models/mood/ready").status_code == 404
    assert admin.post("/v1/models/mood/load", json={"version": "1"}).status_code == 200
    assert label(admin) == "1"


@pytest.mark.parametrize("name", ["..", ".", "mood%2F1", "%2Fetc", "who", "nothing"])
def test_a_name_is_never_a_path(admin: TestClient, name: str) -> None:
    """Only folders that the models' folder lists can be loaded."""
    assert admin.post(f"/v1/models/{name}/load", json={}).status_code in (404, 405)
    assert admin.post("/v1/models/mood/load", json={"version": "../mood/1"}).status_code == 404


def test_only_what_is_called_json_administers(admin: TestClient) -> None:
    """A page of another site can make a browser send what has no content type, or another one."""
    key = admin.headers["authorization"]
    for kind in (None, "text/plain", "application/x-www-form-urlencoded"):
        headers = {"authorization": key, **({"content-type": kind} if kind else {})}
        for method, what, body in (("POST", "load", b'{"version": "2"}'), ("PUT", "split", b'{"weights": {"1": 1}}')):
            reply = admin.request(method, f"/v1/models/mood/{what}", content=body, headers=headers)
            assert (reply.status_code, reply.json()["error"]["code"]) == (415, "malformed")
    assert label(admin) == "1"


def test_the_latest_version_is_the_highest_number(admin: TestClient, folder: Path) -> None:
    """A digit that is no number, such as a square, counts as a word."""
    shutil.rmtree(folder / "mood" / "3")
    shutil.copytree(folder / "mood" / "1", folder / "mood" / "\N{SUPERSCRIPT TWO}")
    shutil.copytree(folder / "mood" / "1", folder / "mood" / "final")
    (folder / "mood" / "1").rename(folder / "mood" / "10")
    reply = admin.post("/v1/models/mood/load", json={})
    assert (reply.status_code, reply.json().get("version")) == (200, "10")


def test_an_artifact_with_versions_beside_it_is_not_taken_for_the_latest(folder: Path) -> None:
    """Nor are they: a load that names no version is refused, and so is the start."""
    shutil.copytree(folder / "mood" / "1", folder / "mood", dirs_exist_ok=True)
    with pytest.raises(LoadFailed, match=f"{folder / 'mood'}: holds an artifact, and versions beside it"):
        labels(folder, "mood")
    with pytest.raises(LoadFailed, match="holds an artifact, and versions beside it"):
        find(folder, "mood", None)
    assert find(folder, "mood", "2") == (folder / "mood" / "2", "2")


def test_a_version_that_may_not_be_looked_into_hides_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed, and its load says why it fails."""
    look = Path.is_file

    def denied(path: Path) -> bool:
        if path.parent.name == "2":
            raise PermissionError
        return look(path)

    monkeypatch.setattr(Path, "is_file", denied)
    assert labels(folder, "mood") == ["3", "2", "1"]
    assert find(folder, "mood", "1") == (folder / "mood" / "1", "1")
    assert loadable(folder) == [("mood", "1"), ("mood", "2"), ("mood", "3")]


@pytest.mark.parametrize(("target", "reason"), [("a" * 300, "file name too long"), ("nothing", "no such file")])
def test_what_cannot_be_looked_at_hides_no_model_and_no_version(folder: Path, target: str, reason: str) -> None:
    """Such as a mount that is gone, or here a link that no system follows, or one to nothing. Its own load says so."""
    for place in (folder / "gone", folder / "mood" / "4"):
        place.symlink_to(target)
    assert find(folder, "mood", "1") == (folder / "mood" / "1", "1")
    assert labels(folder, "mood") == ["4", "3", "2", "1"]
    assert loadable(folder) == [("mood", version) for version in ("1", "2", "3", "4")]
    with pytest.raises(LoadFailed, match=rf"the folder of the model cannot be read \({reason}"):
        find(folder, "gone", None)
    with pytest.raises(LoadFailed, match=rf"gone.*: cannot be read \({reason}"):
        labels(folder, "gone")


@pytest.mark.parametrize(
    ("names", "latest"),
    [
        ("v9 v10", "v10"),
        ("1.9.0 1.10.0 1.10", "1.10.0"),
        ("r2-b9 r2-b10 r1-b11", "r2-b10"),
        ("9 10 final v11", "10"),
        ("2024-09-30 2024-10-01", "2024-10-01"),
        ("1 1-rc2 1-rc10", "1-rc10"),
        ("07 7 6", "7"),
        ("\N{ARABIC-INDIC DIGIT NINE} 10", "10"),
    ],
)
def test_versions_are_in_the_order_of_the_numbers_in_their_names(tmp_path: Path, names: str, latest: str) -> None:
    """Part by part; a number comes after a word, and a longer name after its own beginning."""
    for name in names.split():
        (tmp_path / "mood" / name).mkdir(parents=True)
        (tmp_path / "mood" / name / "manifest.json").touch()
    assert find(tmp_path, "mood", None) == (tmp_path / "mood" / latest, latest)
    assert loadable(tmp_path)[-1] == ("mood", latest)


def test_the_index_shows_what_could_be_loaded(admin: TestClient, folder: Path, artifacts: tuple[Path, Path]) -> None:
    """From the folder, beside what is served; what is not a model is left out, and so is what is not ready if asked."""
    shutil.copytree(artifacts[1], folder / "plain")
    (folder / "nothing").mkdir()
    (folder / ".hidden").mkdir()

    def index(**asked: object) -> list[tuple[str, str, str, str]]:
        found = admin.post("/v2/repository/index", json=asked).json()
        return sorted((one["name"], one["version"], one["state"], one["reason"]) for one in found)

    ready = [one for one in index() if one[2] == "READY"]
    assert [one[0] for one in ready] == ["mood", "who"]
    kept = [(*one, "UNAVAILABLE", "unloaded") for one in (("mood", "2"), ("mood", "3"), ("plain", ""))]
    assert index() == sorted(ready + kept)
    assert index(ready=False) == index(ready=None) == index()
    assert index(ready=True) == ready
    assert admin.post("/v2/repository/index", json={"ready": "false"}).status_code == 400
    assert admin.post("/v1/models/mood/load", json={"version": "2"}).status_code == 200
    assert admin.post("/v1/models/plain/load", json={}).status_code == 200
    found = {(name, version): state for name, version, state, _ in index() if state != "UNLOADING"}
    assert found["mood", "2"] == "READY"
    assert found["mood", "1"] == "UNAVAILABLE"
    assert ("plain", "") not in found
    assert "READY" in [state for (name, _), state in found.items() if name == "plain"]


def test_a_crowd_that_asks_for_the_index_has_the_folder_read_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them get what it holds."""
    read: list[Path] = []

    def counted(given: Path) -> list[tuple[str, str]]:
        read.append(given)
        return loadable(given)

    monkeypatch.setattr(repository, "loadable", counted)
    app = create_app(Settings(models_dir=folder))

    async def scenario() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            return await asyncio.gather(*(client.post("/v2/repository/index") for _ in range(30)))

    replies = asyncio.run(scenario())
    assert all([one["version"] for one in reply.json()] == ["1", "2", "3"] for reply in replies)
    assert len(read) < 5


def test_the_index_cannot_be_had_from_a_folder_that_is_gone(admin: TestClient, folder: Path) -> None:
    """What is served is still told."""
    shutil.rmtree(folder)
    reply = admin.post("/v2/repository/index")
    assert (reply.status_code, reply.json()) == (503, {"error": "the folder of models cannot be read"})
    assert {one["state"] for one in admin.post("/v2/repository/index", json={"ready": True}).json()} == {"READY"}


def test_the_index_does_not_wait_for_a_folder_that_does_not_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a mount has gone away: a request for it ends, and the next one gets it once the folder answers again."""
    answering = threading.Event()

    def slow(given: Path) -> list[tuple[str, str]]:
        answering.wait(60)
        return loadable(given)

    monkeypatch.setattr(repository, "loadable", slow)
    monkeypatch.setattr(shared, "_MOST", 0.0)
    app = create_app(Settings(models_dir=folder, max_request_seconds=0.2))

    async def scenario() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as client:
            found = [(await client.post("/v2/repository/index")).status_code]
            answering.set()
            await asyncio.sleep(0.1)
            return [*found, (await client.post("/v2/repository/index")).status_code]

    try:
        assert asyncio.run(scenario()) == [503, 200]
    finally:
        answering.set()


def test_a_load_does_not_wait_for_a_folder_that_does_not_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do those behind it. The name that was sent is not repeated."""
    answering = threading.Event()

    def slow(given: Path, name: str, version: str | None) -> tuple[Path, str | None]:
        answering.wait(60)
        return find(given, name, version)

    monkeypatch.setattr(repository, "find", slow)
    headers = {"x-api-key": make_key(tmp_path / "keys", "root", "admin")}
    settings = Settings(models_dir=folder, artifacts=(str(folder / "mood" / "1"),), keys_file=tmp_path / "keys")
    app = create_app(settings)
    with TestClient(app, headers=headers) as client:
        try:
            app.state.repository._loader._settings = settings.model_copy(update={"max_load_seconds": 0.2})
            reply = client.post("/v2/repository/models/mood/load")
            assert reply.status_code == 424
            assert reply.json() == {"error": "failed to load: the folder of models does not answer within 0.2 seconds"}
            assert client.post("/v2/repository/models/mood/unload").status_code == 200
        finally:
            answering.set()


def test_clients_of_v2_find_the_words_that_they_look_for(admin: TestClient) -> None:
    """Of a model that is unknown, and of one that does not load; unloading what is not loaded is no error."""
    for path in (
        "/v2/models/nope",
        "/v2/models/nope/ready",
        "/v2/models/mood/versions/9/config",
        "/v2/models/nope/stats",
    ):
        reply = admin.get(path)
        assert reply.status_code == 404
        assert reply.json()["error"].startswith("Request for unknown model: ")
        assert "nope" not in reply.text
    reply = admin.post("/v2/repository/models/nope/load", json={})
    assert reply.status_code == 404
    assert "failed to load" in reply.json()["error"]
    assert admin.post("/v2/repository/models/mood/load", json={}).json()["error"].startswith("failed to load: ")
    for body in ({}, {"parameters": None}, {"parameters": {"unload_dependents": True}}):
        reply = admin.post("/v2/repository/models/nope/unload", json=body)
        assert (reply.status_code, reply.json()) == (200, {})
    for body in (b"{", b'{"version": "2"}', b'{"parameters": {"version": "2"}}'):
        for what in ("load", "unload"):
            assert admin.post(f"/v2/repository/models/mood/{what}", content=body).status_code == 400
            assert admin.post(f"/v2/repository/models/mood/{what}?version=2").status_code == 400
    assert label(admin) == "1"


def test_dense_and_compressed_stand_side_by_side(artifacts: tuple[Path, Path]) -> None:
    """The same artifact under two names, each asked by name; the first is the default."""
    settings = Settings(artifacts=(f"a={artifacts[0]}", f"b={artifacts[0]}"), threads=1)
    with TestClient(create_app(settings)) as client:
        asked = {"inputs": "the film"}
        assert client.post("/v1/classify", json=asked).json()["model"]["name"] == "a"
        assert client.post("/v1/models/b/classify", json=asked).json()["model"]["name"] == "b"
        assert client.post("/models/b", json=asked).status_code == 200


def test_a_model_that_is_loaded_again_has_its_place_again(folder: Path, tmp_path: Path) -> None:
    """The requests that name none are its own again; a name that comes later stands at the end."""
    key = make_key(tmp_path / "keys", "root", "admin")
    shutil.copytree(folder / "mood" / "1", folder / "a" / "1")
    named = (f"mood={folder / 'mood' / '1'}", f"b={folder / 'mood' / '2'}")
    settings = Settings(artifacts=named, models_dir=folder, keys_file=tmp_path / "keys", threads=1)

    def meant() -> str:
        (default,) = [one["name"] for one in client.get("/info").json()["models"] if one["default"]]
        asked = client.post("/v1/classify", json={"inputs": "the film"}).json()
        assert asked["model"]["name"] == default
        return str(default)

    with TestClient(create_app(settings), headers={"x-api-key": key}) as client:
        for what, name, expected in (
            ("load", "a", "mood"),
            ("unload", "mood", "b"),
            ("load", "mood", "mood"),
            ("unload", "b", "mood"),
            ("unload", "mood", "a"),
            ("load", "mood", "mood"),
        ):
            body = {"version": "1"} if what == "load" else {}
            assert client.post(f"/v1/models/{name}/{what}", json=body).is_success
            assert (what, name, meant()) == (what, name, expected)
        assert [one["name"] for one in client.get("/v1/models").json()["models"]] == ["mood", "a"]


@pytest.mark.slow
def test_swaps_under_load_lose_and_mix_nothing(admin: TestClient) -> None:
    """While versions are switched again and again, every request is answered by one version throughout."""
    stop = threading.Event()
    wrong: list[object] = []
    answered = Counter[str]()

    def client() -> None:
        while not stop.is_set():
            reply = admin.post("/v1/classify", json={"inputs": ["the film"] * 4})
            if reply.status_code != 200:
                wrong.append((reply.status_code, reply.text))
                continue
            body = reply.json()
            found = {score["label"].rpartition("-of-")[2] for row in body["results"] for score in row}
            if len(found) != 1:
                wrong.append(body)
            answered[found.pop()] += 1

    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in range(6):
            assert admin.post("/v1/models/mood/load", json={"version": "12"[turn % 2]}).status_code == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert set(answered) == {"1", "2"}


@pytest.mark.slow
def test_a_version_that_is_gone_leaves_nothing_behind(admin: TestClient) -> None:
    """Nor does it wait for a full collection; the probe may still hold the last one that it looked at."""
    before = sum(type(held) is Model for held in gc.get_objects())
    gc.disable()
    try:
        for turn in range(6):
            assert admin.post("/v1/models/mood/load", json={"version": "12"[turn % 2]}).status_code == 200
        assert sum(type(held) is Model for held in gc.get_objects()) <= before + 2
    finally:
        gc.enable()
