"""Who is let in: keys and their scopes, origins, and what is shown to whom."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime
import pytest
from fastapi.testclient import TestClient

from pgb_core.artifact import MANIFEST, MODEL
from service.__main__ import _warn_of_strangers
from service.app import create_app
from service.errors import LoadFailed, Overloaded
from service.http.origins import HEADERS
from service.keys import Key, Keys, KeysError, main, make_key, read_keys
from service.models.registry import Registry
from service.observe.logs import LOGGER
from service.settings import Settings
from tests.service.hostile import MARK
from tests.service.sockets import running


@dataclass(frozen=True)
class Guarded:
    """An application with a file of keys, and the keys."""

    client: TestClient
    file: Path
    use: str
    admin: str

    def status(self, method: str, path: str, key: str | None, header: str = "authorization") -> int:
        """Of a request with that key."""
        value = f"Bearer {key}" if header == "authorization" else key or ""
        headers = {} if key is None else {header: value.encode()}
        return self.client.request(method, path, headers=headers).status_code


@pytest.fixture
def guarded(artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """Keys that are looked at anew with every request."""
    monkeypatch.setattr("service.keys._RECHECK_SECONDS", -1.0)
    file = tmp_path / "keys"
    use, admin = make_key(file, "someone", "use"), make_key(file, "root", "admin")
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, keys_file=file, metrics_key=True)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Guarded(client, file, use, admin)


OPEN = {("get", path) for path in ("/", "/health", "/ping", "/v2", "/v2/health/live", "/v2/health/ready")}


def test_every_operation_asks_for_the_key_that_it_should(guarded: Guarded) -> None:
    """All of the OpenAPI document: probes are open, administration is for admin keys, the rest for any key."""
    paths = guarded.client.get("/openapi.json").json()["paths"]
    seen = {"open": 0, "use": 0, "admin": 0}
    for template, operations in paths.items():
        path = template.replace("{name}", "mood").replace("{version}", "1")
        for method in operations:
            if (method, template) in OPEN:
                assert guarded.status(method, path, None) == 200
                assert guarded.status("head", path, None) == 200
                seen["open"] += 1
                continue
            for wrong in (None, "", "pgb_wrong", guarded.use + "a", guarded.use[:-1], "clé"):
                assert guarded.status(method, path, wrong) == 401, (method, path, wrong)
            assert "WWW-Authenticate" in guarded.client.request(method, path).headers
            if method == "get":
                assert guarded.status("head", path, None) == 401
                assert guarded.status("head", path, guarded.use) == guarded.status("get", path, guarded.use)
            admin = template.endswith(("/load", "/unload", "/split"))
            assert (guarded.status(method, path, guarded.use) == 403) == admin
            if not template.endswith("unload"):
                assert guarded.status(method, path, guarded.admin) not in (401, 403)
            seen["admin" if admin else "use"] += 1
    assert seen["open"] == len(OPEN)
    assert seen["admin"] == 5
    assert seen["use"] > 15


def test_without_a_file_of_keys_nobody_administers(artifacts: tuple[Path, Path]) -> None:
    """And everyone may ask."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), threads=1))) as client:
        assert client.post("/v1/classify", json={"inputs": "the film"}).status_code == 200
        for path in ("/v1/models/mood/unload", "/v2/repository/models/mood/unload"):
            assert client.post(path, headers={"authorization": "Bearer a"}, json={}).status_code == 403


def test_a_gateway_may_use_one_of_the_headers_for_itself(guarded: Guarded) -> None:
    """Either key is enough, and the owner is that of X-API-Key where both are in force."""

    def status(bearer: str, key: str, unloads: bool = False) -> int:
        headers = {"authorization": f"Bearer {bearer}", "x-api-key": key}
        if unloads:
            return guarded.client.post("/v1/models/none/unload", headers=headers).status_code
        return guarded.client.get("/v1/models", headers=headers).status_code

    assert [status("token", guarded.use), status(guarded.use, "token"), status("token", "token")] == [200, 200, 401]
    assert [status(guarded.use, guarded.admin, True), status(guarded.admin, guarded.use, True)] == [404, 403]


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
def test_a_key_that_is_taken_out_of_the_file_ends_and_a_new_one_begins(guarded: Guarded, header: str) -> None:
    """While the service runs; a file that turns bad, or goes, leaves the last good keys."""
    assert guarded.status("get", "/v1/models", guarded.use, header) == 200
    kept = [line for line in guarded.file.read_text().splitlines() if not line.startswith("someone ")]
    guarded.file.write_text("# without someone\n" + "\n".join(kept) + "\n")
    new = make_key(guarded.file, "new", "use")
    assert guarded.status("get", "/v1/models", guarded.use, header) == 401
    assert guarded.status("get", "/v1/models", new, header) == 200
    guarded.file.write_text("nonsense\n")
    assert guarded.status("get", "/v1/models", new, header) == 200
    guarded.file.unlink()
    assert guarded.status("get", "/v1/models", new, header) == 200
    assert guarded.status("get", "/v1/models", "pgb_wrong", header) == 401


def test_a_file_of_keys_that_cannot_be_read_is_read_again_until_it_can(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that was taken out while the file could not be read ends as soon as it can; the log says what holds."""
    text = guarded.file.read_text()
    away = guarded.file.with_name("away")
    guarded.file.rename(away)
    guarded.file.mkdir()  # cannot be read by anybody, not even by root
    assert guarded.status("get", "/v1/models", guarded.use) == 200
    assert [record.levelname for record in caplog.records if "cannot be used" in record.message] == ["ERROR"]
    assert guarded.status("get", "/v1/models", guarded.use) == 200
    assert len([record for record in caplog.records if "cannot be used" in record.message]) == 1
    guarded.file.rmdir()
    away.write_text("\n".join(line for line in text.splitlines() if not line.startswith("someone ")))
    before = away.stat()
    away.rename(guarded.file)
    os.utime(guarded.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert guarded.status("get", "/v1/models", guarded.use) == 401


@pytest.mark.parametrize("text", ["", "\n", "# nobody\n"])
def test_a_file_without_keys_locks_nobody_out(guarded: Guarded, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """It may be empty for a moment while it is written; the log says that the keys before are still valid."""
    before = guarded.file.read_text()
    guarded.file.write_text(text)
    assert guarded.status("get", "/v1/models", guarded.use) == 200
    (said,) = [record for record in caplog.records if "cannot be used" in record.message]
    assert said.levelname == "ERROR"
    assert "holds no key" in said.fields["reason"]  # type: ignore[attr-defined]
    guarded.file.write_text("\n".join(line for line in before.splitlines() if not line.startswith("someone ")))
    assert guarded.status("get", "/v1/models", guarded.use) == 401
    assert guarded.status("get", "/v1/models", guarded.admin) == 200


def test_a_service_does_not_start_with_a_file_that_holds_no_key(tmp_path: Path) -> None:
    """Nobody could ask it anything; the message says how to add one."""
    file = tmp_path / "keys"
    file.write_text("# nobody yet\n")
    with pytest.raises(KeysError, match=r"holds no key; python -P -m service\.keys .* adds one"):
        create_app(Settings(artifacts=("none",), keys_file=file))


def test_a_file_of_keys_that_changes_hands_is_read_again(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode and owner count, not only its time and size."""
    read: list[Path] = []
    monkeypatch.setattr("service.keys.read_keys", lambda path: read.append(path) or read_keys(path))
    guarded.status("get", "/v1/models", guarded.use)
    assert not read
    guarded.file.chmod(0o640)
    guarded.status("get", "/v1/models", guarded.use)
    assert len(read) == 1


def test_a_file_that_is_no_longer_in_its_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A mount of the file alone still shows the old one, as its descriptor does here, with the keys taken out since."""
    monkeypatch.setattr("service.keys._RECHECK_SECONDS", -1.0)
    monkeypatch.setattr(LOGGER, "propagate", True)
    file, other = tmp_path / "keys", tmp_path / "other"
    old = make_key(file, "someone", "use")
    make_key(other, "another", "use")
    with file.open() as held:
        keys = Keys(Path(f"/proc/self/fd/{held.fileno()}"))
        keys.check([old], "use")
        assert not caplog.records
        other.replace(file)
        for _ in range(2):
            keys.check([old], "use")
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "mount the folder that it is in" in record.message


def test_a_file_that_the_service_may_not_read_is_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its owner made it, and the service runs as another user."""

    def refused(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(KeysError, match=r"keys: cannot be read \(PermissionError\); the user that runs the service"):
        read_keys(tmp_path / "keys")


def test_keys_that_change_while_they_are_first_read_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a key that was just added would not count until the next change."""
    monkeypatch.setattr("service.keys._RECHECK_SECONDS", -1.0)
    file = tmp_path / "keys"
    added: list[str] = []
    make_key(file, "first", "use")

    def reading(path: Path) -> list[Key]:
        found = read_keys(path)
        if not added:
            added.append(make_key(path, "second", "use"))
        return found

    monkeypatch.setattr("service.keys.read_keys", reading)
    assert Keys(file).check(added, "use") == "second"


@pytest.mark.parametrize("length", ["4000000", "4000000 ", "4000000\t"], ids=["plain", "blank", "tab"])
def test_nobody_s_bytes_are_held_who_has_no_key(artifacts: tuple[Path, Path], tmp_path: Path, length: str) -> None:
    """Of 64 who promise four megabytes each without a key, every one is refused from its head; the owner is served."""
    file = tmp_path / "keys"
    use = make_key(file, "someone", "use")
    settings = Settings(artifacts=(str(artifacts[0]),), threads=1, keys_file=file)
    head = f"POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    with running(settings) as url, ExitStack() as stack:
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        for _ in range(64):
            connection = stack.enter_context(socket.create_connection(address, 20))
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 401")
        with socket.create_connection(address, 20) as connection:
            connection.sendall(f"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {use} \t\r\n\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_health_names_models_only_to_who_has_a_key(guarded: Guarded) -> None:
    """The probe itself is open to all."""
    for key in (None, "pgb_wrong"):
        headers = {} if key is None else {"x-api-key": key}
        assert guarded.client.get("/health", headers=headers).json() == {"status": "ready"}
    found = guarded.client.get("/health", headers={"x-api-key": guarded.use}).json()
    assert [model["name"] for model in found["models"]] == ["mood"]


def test_who_has_no_key_is_not_told_whether_a_body_would_do(guarded: Guarded) -> None:
    """The key comes first, whatever was sent."""
    for body in (b"{", b"", b'{"inputs": 7}', b'{"inputs": "x"}'):
        for path in (
            *("/v1/classify", "/", "/predict", "/v1/models/mood/classify", "/v2/models/mood/infer"),
            *("/v1/models/mood:predict", "/invocations"),
        ):
            reply = guarded.client.post(path, content=body, headers={"content-type": "application/json"})
            assert reply.status_code == 401, (path, body)


def test_who_has_no_key_is_not_told_of_the_load(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key comes before the queue, with a body and without one, and no refusal is counted for the model."""

    def full(*_: object) -> None:
        raise Overloaded("full", 1.0)

    monkeypatch.setattr(Registry, "check", full)
    for body in (b"", b'{"inputs": "the film"}'):
        assert guarded.client.post("/v1/classify", content=body).status_code == 401
        key = {"x-api-key": guarded.use}
        assert guarded.client.post("/v1/classify", content=body, headers=key).status_code == 429


def test_a_secret_is_nowhere_but_with_its_owner(guarded: Guarded) -> None:
    """The file holds hashes and is its owner's alone; no answer and no error repeats a key."""
    assert guarded.use not in guarded.file.read_text()
    assert hashlib.sha256(guarded.use.encode()).hexdigest() in guarded.file.read_text()
    assert guarded.file.stat().st_mode & 0o077 == 0
    for key in (guarded.use, guarded.use + "x"):
        reply = guarded.client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert guarded.use not in reply.text + str(reply.headers)


def test_a_key_is_added_to_a_file_that_somebody_wrote_by_hand(tmp_path: Path) -> None:
    """Which may lack its last newline."""
    file = tmp_path / "keys"
    secrets = [make_key(file, "a", "use")]
    file.write_text(file.read_text().rstrip("\n"))
    secrets.append(make_key(file, "b", "use"))
    assert [Keys(file).check([secret], "use") for secret in secrets] == ["a", "b"]


def test_whoever_makes_a_second_key_for_an_owner_is_told_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, as standard output is the key alone. Both are valid."""
    file = tmp_path / "keys"
    make_key(file, "other", "use")
    said = []
    for more in ([], ["--admin"]):
        assert main([str(file), "root", *more]) == 0
        said.append(capsys.readouterr())
    assert said[0].err == ""
    assert said[1].err == f"keys: {file}: older keys of root stay in force (use); to end one, delete its line\n"
    assert [Keys(file).check([one.out.strip()], "use") for one in said] == ["root", "root"]


@pytest.mark.parametrize("scope", ["use", "admin"])
def test_a_key_stands_in_a_file_once(tmp_path: Path, scope: str) -> None:
    """Or its name and its scope could be read two ways. A name may have several keys, while one takes over."""
    file = tmp_path / "keys"
    for _ in range(2):
        make_key(file, "a", "use")
    first, second = file.read_text().splitlines()
    assert len(read_keys(file)) == 2
    file.write_text(f"{first}\n{second}\n\nb {scope} {first.split()[2]}\n")
    with pytest.raises(KeysError, match=f"{file}:4: the same key as in line 1"):
        read_keys(file)


def test_no_key_is_not_the_key_whose_hash_is_that_of_nothing(guarded: Guarded) -> None:
    """A line made by hashing an unset variable lets nobody in."""
    with guarded.file.open("a") as file:
        file.write(f"slip admin {hashlib.sha256(b'').hexdigest()}\n")
    for key in (None, "", " "):
        assert guarded.status("get", "/v1/models", key) == 401


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize("key", ["clé", "ключ", "voil\xe0", "鍵 \U0001f511"])
def test_a_key_may_have_any_letters(guarded: Guarded, header: str, key: str) -> None:
    """The file has the hash of its UTF-8, where a letter may end in what looks like a blank. Browsers send latin-1."""
    with guarded.file.open("a") as file:
        file.write(f"chosen use {hashlib.sha256(key.encode()).hexdigest()}\n")
    assert guarded.status("get", "/v1/models", key, header) == 200
    assert guarded.status("get", "/v1/models", key[:-1], header) == 401
    if max(key) < "\u0100":
        value = {"authorization": f"Bearer {key}", "x-api-key": key}[header].encode("latin-1")
        assert guarded.client.get("/v1/models", headers={header: value}).status_code == 200


def test_keys_are_compared_in_constant_time_and_all_of_them(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever in the file the right one stands, and whether there is one."""
    compared: list[str] = []
    real = hmac.compare_digest

    def noted(first: str, second: str) -> bool:
        compared.append(first)
        return real(first, second)

    monkeypatch.setattr("service.keys.hmac.compare_digest", noted)
    for key, status in ((guarded.use, 200), (guarded.admin, 200), ("pgb_wrong", 401)):
        compared.clear()
        assert guarded.status("get", "/v1/models", key) == status
        assert len(compared) == 2
        assert all(len(digest) == 64 for digest in compared)


def test_origins_are_let_in_only_where_they_are_named(artifacts: tuple[Path, Path]) -> None:
    """No CORS header unless configured, and then for those origins alone."""
    for origins, origin, allowed in (
        ((), "https://a.example", None),
        (("https://a.example",), "https://a.example", "https://a.example"),
        (("https://a.example",), f"https://{MARK}.example", None),
    ):
        with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), cors_origins=origins))) as client:
            reply = client.get("/health", headers={"origin": origin})
            assert reply.headers.get("access-control-allow-origin") == allowed
            assert "access-control-allow-credentials" not in reply.headers
            refused = client.post("/v1/classify", content=b"{}", headers={"origin": origin, "content-encoding": "br"})
            assert refused.status_code == 400
            assert refused.headers.get("access-control-allow-origin") == allowed
            exposed = refused.headers.get("access-control-expose-headers", "")
            for name in ("x-request-id", "inference-header-content-length", "x-compute-time"):
                assert (name in exposed) == bool(origins)


def test_a_preflight_is_answered_counted_and_repeats_nothing(artifacts: tuple[Path, Path]) -> None:
    """With the headers that the service knows, in every order and case; others are refused."""
    origins = ("https://a.example", "https://b.example")
    asked = {"origin": origins[1], "access-control-request-method": "POST"}
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), cors_origins=origins))) as client:
        for wanted, status in (
            (None, 200),
            ("X-API-Key, content-type", 200),
            (", ".join(HEADERS), 200),
            (MARK, 400),
            (f"authorization, {MARK}", 400),
        ):
            more = {} if wanted is None else {"access-control-request-headers": wanted}
            reply = client.options("/v1/classify", headers={**asked, **more})
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == origins[1]
            assert "x-api-key" in reply.headers["access-control-allow-headers"]
            assert reply.headers["x-request-id"]
            assert MARK not in reply.text + str(reply.headers)
        refused = client.options("/v1/classify", headers={**asked, "origin": f"https://{MARK}.example"})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        text = client.get("/metrics").text
        assert 'pgb_requests_total{dialect="native",model="",status="200"} 3.0' in text
        assert 'pgb_requests_total{dialect="native",model="",status="400"} 3.0' in text
        assert client.options("/v1/classify", headers={"origin": origins[0]}).status_code == 405


@pytest.mark.parametrize(
    ("host", "told"),
    [
        *(("127.0.0.1", False), ("127.8.8.8", False), ("::1", False), ("localhost", False)),
        *(("0.0.0.0", True), ("::", True), ("192.0.2.7", True), ("machine.example", True)),  # noqa: S104
    ],
)
def test_who_listens_to_other_machines_without_keys_is_warned(
    host: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the remedy; and not where keys are set."""
    _warn_of_strangers(Settings(host=host))
    found = [(record.levelname, record.fields["host"]) for record in caplog.records]  # type: ignore[attr-defined]
    assert found == [("WARNING", host)] * told
    assert ("set keys_file" in caplog.text) == told
    caplog.clear()
    _warn_of_strangers(Settings(host=host, keys_file=tmp_path / "keys"))
    assert not caplog.records


def test_a_server_without_keys_warns_when_it_starts(tmp_path: Path) -> None:
    """Before it looks at a model."""
    command = [sys.executable, "-P", "-m", "service", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]  # noqa: S104
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "asks for no key" in done.stderr


def test_metrics_can_be_switched_off(artifacts: tuple[Path, Path]) -> None:
    """Then there is no such path."""
    with TestClient(create_app(Settings(artifacts=(str(artifacts[0]),), metrics=False))) as client:
        assert client.get("/metrics").status_code == 404


def test_a_graph_that_keeps_tensors_in_other_files_is_not_loaded(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """No hash of the manifest would cover them. The runtime alone would load it."""
    copy = tmp_path / "mood"
    shutil.copytree(artifacts[0], copy)
    graph = onnx.load(copy / MODEL)
    onnx.save_model(graph, copy / MODEL, save_as_external_data=True, location="weights.bin", size_threshold=1024)
    manifest = json.loads((copy / MANIFEST).read_text())
    manifest["files"][MODEL] = hashlib.sha256((copy / MODEL).read_bytes()).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    onnxruntime.InferenceSession(copy / MODEL)
    with pytest.raises(LoadFailed, match="other files"), TestClient(create_app(Settings(artifacts=(str(copy),)))):
        pass


def test_the_openapi_document_is_whole(guarded: Guarded) -> None:
    """What it refers to is in it, and of every operation but probes it says that a key is needed."""
    text = guarded.client.get("/openapi.json").text
    document = json.loads(text)
    assert set(re.findall(r"#/components/schemas/([^\"]+)", text)) <= set(document["components"]["schemas"])
    assert "#/$defs" not in text
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == ((method, path) not in OPEN and path != "/metrics"), path
