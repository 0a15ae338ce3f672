"""Artifacts on the hub: put there and opened from there, against a stand-in that speaks the hub's protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from pgb_core import hub
from pgb_core.artifact import MANIFEST, Artifact, open_artifact
from pgb_core.cli import main
from pgb_core.errors import ArtifactError, ResourceError
from pgb_core.measure import scoring
from tests.made import Make, rewritten
from tests.served import serving

TOKEN = "hf_a-token-of-a-test"
PUSH = "import sys; from pgb_core.cli import main; sys.exit(main(['push', *sys.argv[1:]]))"
LOAD = """
import json, sys
import pgb_core
from pgb_core.errors import PGBError
try:
    with pgb_core.load(sys.argv[1], "fp32", threads=1) as model:
        print(json.dumps(model("the film was dull")))
except PGBError as error:
    print("refused:", error)
"""


class Hub:
    """Repositories of files, by name. asked: method and path of every request. senders: the tokens that came."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.senders: set[str | None] = set()
        self.url = ""

    def commit(self, repo: str) -> str:
        """Of what a repository holds now."""
        return digest(json.dumps(sorted((n, digest(c)) for n, c in self.repos[repo].items())).encode())

    def reply(self, method: str, path: str, body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, content and headers."""
        parts = path.partition("?")[0].strip("/").split("/")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return as_json({"warnings": [], "errors": []})
        if parts[:2] == ["api", "models"]:
            repo, rest = "/".join(parts[2:4]), parts[4:]
            if repo not in self.repos:
                return 404, b"", {"x-error-code": "RepoNotFound"}
            return self._api(repo, rest, body)
        repo, name = "/".join(parts[:2]), parts[-1]
        if parts[2:3] == ["resolve"] and name in self.repos.get(repo, {}):
            content = self.repos[repo][name]
            return 200, content, {"etag": f'"{digest(content)}"', "x-repo-commit": self.commit(repo)}
        return 404, b"", {"x-error-code": "EntryNotFound" if repo in self.repos else "RepoNotFound"}

    def _create(self, said: dict[str, Any]) -> tuple[int, bytes, Mapping[str, str]]:
        repo = f"{said.get('organization') or 'owner'}/{said['name']}"
        if repo in self.repos:
            return 409, *as_json({"error": "there already", "url": f"{self.url}/{repo}"})[1:]
        self.repos[repo] = {".gitattributes": b""}
        if said.get("private") or said.get("visibility") == "private":
            self.private.add(repo)
        return as_json({"url": f"{self.url}/{repo}", "name": repo, "id": "1"})

    def _api(self, repo: str, rest: list[str], body: bytes) -> tuple[int, bytes, Mapping[str, str]]:
        files = self.repos[repo]
        if rest[:1] == ["preupload"]:
            named = [entry["path"] for entry in json.loads(body)["files"]]
            return as_json({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in named]})
        if rest[:1] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"{self.url}/{repo}/commit/{self.commit(repo)}"
            return as_json({"success": True, "commitOid": self.commit(repo), "commitUrl": url, "hookOutput": ""})
        if rest[:1] == ["tree"]:
            return as_json(
                [{"type": "file", "path": n, "size": len(c), "oid": self.commit(repo)} for n, c in files.items()]
            )
        siblings = [{"rfilename": name} for name in files]
        info = {"id": repo, "modelId": repo, "sha": self.commit(repo), "private": repo in self.private, "tags": []}
        return as_json({**info, "siblings": siblings})


def digest(content: bytes) -> str:
    """As git names what it holds, by its length."""
    return sha1(content).hexdigest()  # noqa: S324


def as_json(value: object) -> tuple[int, bytes, Mapping[str, str]]:
    """A good answer."""
    return 200, json.dumps(value).encode(), {"content-type": "application/json"}


@pytest.fixture
def running() -> Iterator[Hub]:
    """A hub without repositories, that answers."""
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            found.asked.append(f"{self.command} {self.path}")
            found.senders.add(self.headers.get("authorization"))
            status, content, headers = found.reply(self.command, self.path, body)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def environment(running: Hub, tmp_path: Path) -> dict[str, str]:
    """Of a process that knows this hub alone, and has a token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    return {
        **kept,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_ENDPOINT": running.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": TOKEN,
        "no_proxy": "127.0.0.1",
    }


def ran(code: str, environment: Mapping[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    """A new interpreter: the hub's client reads its environment once."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)


@pytest.fixture
def small(make: Make, tmp_path: Path) -> Artifact:
    """An artifact of its own, which may be altered."""
    return rewritten(make("bert"), tmp_path / "small", {})


def answers(environment: Mapping[str, str], address: object) -> Any:
    """Of `pgb_core.load`, or what it says instead."""
    done = ran(LOAD, environment, address)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip() if done.stdout.startswith("refused") else json.loads(done.stdout)


def test_what_is_pushed_is_opened_from_there(
    running: Hub, environment: dict[str, str], small: Artifact, tmp_path: Path
) -> None:
    """Whole, by its branch or a commit, with the same answers; and again when the hub is away."""
    done = ran(PUSH, environment, small.path, "owner/small")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == f"{running.url}/owner/small/commit/{running.commit('owner/small')}"
    held = running.repos["owner/small"]
    assert held.keys() == {".gitattributes", MANIFEST, *small.manifest.files}
    assert all(held[name] == (small.path / name).read_bytes() for name in (MANIFEST, *small.manifest.files))
    assert running.senders == {f"Bearer {TOKEN}"}
    wanted = answers(environment, small.path)
    held["pytorch_model.bin"] = b"never asked for"
    running.asked.clear()
    for address in ("hf://owner/small", f"hf://owner/small@{running.commit('owner/small')}"):
        assert answers(environment, address) == wanted
    assert not [line for line in running.asked if "pytorch_model" in line]
    assert answers({**environment, "HF_HUB_OFFLINE": "1"}, "hf://owner/small") == wanted
    with serving("named=hf://owner/small", "--form", "fp32", env=environment) as (url, _):
        reply = httpx.post(f"{url}/v1/classify", json={"inputs": "the film was dull", "model": "named"}, timeout=30)
    assert reply.json()["results"] == [[{**each, "score": pytest.approx(each["score"], abs=1e-5)} for each in wanted]]


def test_what_was_altered_on_the_hub_is_refused(
    running: Hub, environment: dict[str, str], small: Artifact, tmp_path: Path
) -> None:
    """By its hash, as from a disk; a file that is missing, by its name; a repository of something else."""
    files = {name: (small.path / name).read_bytes() for name in (MANIFEST, *small.manifest.files)}
    running.repos["owner/altered"] = {**files, "tokenizer.json": b"{}"}
    running.repos["owner/less"] = {name: content for name, content in files.items() if name != "plan.json"}
    running.repos["owner/other"] = {"config.json": b"{}"}
    running.repos["owner/page"] = {MANIFEST: b'{"name": "a page", "icons": []}'}
    running.repos["owner/list"] = {MANIFEST: b"[]"}
    running.repos["owner/bytes"] = {MANIFEST: b"\xff"}
    running.repos["owner/broken"] = {MANIFEST: b"{"}
    no_artifact = "its manifest.json is not that of an artifact which this version reads"
    remedy = "name a repository that pgb push filled"
    running.repos["owner/odd"] = {MANIFEST: files[MANIFEST].replace(b'"plan.json"', b'"*"')}
    for repo, says in {
        "altered": "tokenizer.json is not the file that was written",
        "less": "plan.json is missing",
        "other": f"hf://owner/other: has no manifest.json, so it is no artifact; {remedy}",
        "page": f"hf://owner/page: {no_artifact} (manifest: its schema is not 2); {remedy}",
        "list": f"hf://owner/list: {no_artifact} (manifest: its schema is not 2); {remedy}",
        "bytes": f"hf://owner/bytes: {no_artifact} (it is not UTF-8); {remedy}",
        "broken": f"hf://owner/broken: {no_artifact} (manifest: not JSON); {remedy}",
        "nothing": "the hub did not give it",
        "odd": "not a plain file name",
    }.items():
        assert says in answers(environment, f"hf://owner/{repo}")


def test_a_directory_that_is_no_whole_artifact_is_not_pushed(
    running: Hub, environment: dict[str, str], small: Artifact
) -> None:
    """Nothing is asked of the hub; what lies beside the artifact's files stays."""
    (small.path / "notes.txt").write_text("mine")
    assert ran(PUSH, environment, small.path, "owner/small").returncode == 0
    assert "notes.txt" not in running.repos["owner/small"]
    running.asked.clear()
    (small.path / "plan.json").write_text("{}")
    done = ran(PUSH, environment, small.path, "owner/again")
    assert done.returncode == 1
    assert "plan.json is not the file that was written" in done.stderr
    assert running.asked == []


def test_what_is_to_be_private_is_not_put_where_all_can_read(
    running: Hub, environment: dict[str, str], small: Artifact
) -> None:
    """A new repository is private; one that is there and public is left alone."""
    assert ran(PUSH, environment, small.path, "owner/mine", "--private").returncode == 0
    assert running.private == {"owner/mine"}
    running.repos["owner/open"] = {}
    done = ran(PUSH, environment, small.path, "owner/open", "--private")
    assert done.returncode == 1
    assert (
        done.stderr == "pgb push: owner/open: is there already and is public; make it private, or leave --private out\n"
    )
    assert running.repos["owner/open"] == {}


@pytest.mark.parametrize("missing", ["token", "client"])
def test_without_token_or_client_it_says_so(
    missing: str, running: Hub, environment: dict[str, str], small: Artifact
) -> None:
    """And asks the hub nothing; a token that lies in a file is not taken."""
    home = Path(environment["HF_HOME"])
    home.mkdir()
    (home / "token").write_text("hf_of-a-file")
    if missing == "token":
        done = ran(PUSH, {**environment, "HF_TOKEN": ""}, small.path, "owner/small")
        assert "HF_TOKEN is not set" in done.stderr
    else:
        done = ran(f"import sys; sys.modules['huggingface_hub'] = None\n{PUSH}", environment, small.path, "owner/small")
        assert "huggingface_hub is not installed; pip install '.[hub]'" in done.stderr
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert running.asked == []


@pytest.fixture
def fetched(small: Artifact, tmp_path: Path) -> Path:
    """What the hub's client gives for an artifact: a directory of links to the files of its cache."""
    snapshot = tmp_path / "models--owner--small" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--owner--small" / "blobs"
    blobs.mkdir()
    for n, name in enumerate((MANIFEST, *small.manifest.files)):
        (blobs / str(n)).write_bytes((small.path / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{n}")
    return snapshot


@pytest.mark.parametrize("name", [MANIFEST, "plan.json"])
def test_a_damaged_copy_of_what_was_fetched_is_made_again(name: str, fetched: Path, small: Artifact) -> None:
    """Altered or removed, while the cache stays as it was."""
    files = small.manifest.files
    place = hub._plain_copy(fetched, files, "hf://owner/small")
    assert place == fetched.parents[1] / "artifacts" / "c0ffee"
    for damage in (lambda: (place / name).write_text("{}"), (place / name).unlink):
        damage()
        assert hub._plain_copy(fetched, files, "hf://owner/small") == place
        assert open_artifact(place).digest == small.digest
    assert sorted(place.parent.iterdir()) == [place]


def test_a_cache_with_another_file_is_told(fetched: Path, small: Artifact) -> None:
    """With what to remove; no copy of it is left."""
    (fetched / "plan.json").resolve().write_text("{}")
    with pytest.raises(
        ArtifactError, match=rf"plan\.json is not the file that was written .*; remove {fetched.parents[1]}"
    ):
        hub._plain_copy(fetched, small.manifest.files, "hf://owner/small")
    assert list((fetched.parents[1] / "artifacts").iterdir()) == []


def test_what_was_fetched_is_served_from_a_cache_that_takes_no_copy(
    fetched: Path, small: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a temporary directory of the process; where that takes none either, both are told."""
    (fetched.parents[1] / "artifacts").write_text("no directory can be made here, as in a cache that may only be read")
    monkeypatch.setattr(hub, "_own_folder", lambda: tmp_path)
    places = {hub._plain_copy(fetched, small.manifest.files, "hf://owner/small") for _ in range(2)}
    assert places == {tmp_path / "models--owner--small-c0ffee"}
    assert open_artifact(places.pop()).digest == small.digest
    monkeypatch.setattr(hub, "_own_folder", lambda: tmp_path / "absent" / "absent")
    with pytest.raises(ResourceError, match=r"neither the hub's cache \(.*\) nor a temporary one \(No such file"):
        hub._plain_copy(fetched, small.manifest.files, "hf://owner/small")


@pytest.mark.parametrize(
    "address",
    [
        "hf://",
        "hf://small",
        "hf://a/b/c",
        "hf://../etc/passwd",
        "hf://a/b@",
        "hf://a/b c",
        "hf://.a/b",
        "hf://a/b@c/../d",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ArtifactError, match="write hf://OWNER/NAME"):
        hub.located(address)


def test_every_command_that_reads_an_artifact_takes_an_address(
    small: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the service does; and a checkpoint's place says what the address is of."""
    asked: list[object] = []

    def given(address: object) -> Path:
        asked.append(address)
        return small.path

    for place in (hub, scoring):
        monkeypatch.setattr(place, "located", given)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "the film was dull", "label": 0}) + "\n")
    assert main(["inspect", "hf://owner/small"]) == 0
    assert f"manifest sha256 {small.digest}" in capsys.readouterr().out
    assert main(["evaluate", "hf://owner/small", "--data", str(rows)]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["bench", "hf://owner/small", "--shapes", "1x100000"]) == 1
    assert "no shape fits the model" in capsys.readouterr().err
    assert asked == ["hf://owner/small"] * 3
    assert main(["compress", "hf://owner/name", "--train", str(rows), "--out", str(tmp_path / "out")]) == 1
    said = "hf://owner/name: is the address of an artifact, and no checkpoint; write a checkpoint of the hub as OWNER"
    assert said in capsys.readouterr().err


def test_a_path_is_a_path(tmp_path: Path) -> None:
    """Nothing is fetched that does not say so."""
    for path in (tmp_path, "owner/name", "./hf:/x"):
        assert hub.located(path) == Path(path)
