"""npm's `@huggingface/inference`, in node, as its lock file pins it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import TOO_MUCH, Guarded

SOURCE = Path(__file__).parent / "javascript"
BUILD = Path(__file__).parents[2] / "build"
# How npm names a registry that cannot be reached.
OUT_OF_REACH = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "EIDLETIMEOUT")
CONTEXT = "the town sang a song and the film was very good"


@pytest.fixture(scope="session")
def package() -> Path:
    """A folder in which the locked packages are installed, made once for each lock file."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    lock = SOURCE / "package-lock.json"
    folder = BUILD / f"javascript-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not folder.is_dir():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as unfinished:
            made = Path(unfinished, "made")
            made.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, made)
            command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
            done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False, timeout=180)
            if done.returncode and any(code in done.stderr for code in OUT_OF_REACH):
                pytest.skip("npm's registry is out of reach")
            assert done.returncode == 0, done.stderr
            if not folder.is_dir():
                made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def found(package: Path, url: str, guarded: Guarded, several: str) -> dict[str, Any]:
    """The results of client.mjs, by name of the call."""
    script = (SOURCE / "client.mjs").read_text()
    command = ["node", "--input-type=module", "-", url, guarded.url, guarded.user, several, TOO_MUCH]
    done = subprocess.run(command, cwd=package, input=script, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def test_labels(found: dict[str, Any], url: str) -> None:
    """All of them, the best first, by every way to name the address."""
    native = httpx.post(f"{url}/v1/classify", json={"inputs": "the film was good"}).json()["results"][0]
    assert found["labels"] == native
    for way in ("named", "function", "endpoint", "key"):
        assert found[f"labels_{way}"] == native, way


def test_parameters_of_labels(found: dict[str, Any], url: str) -> None:
    """`top_k` and `function_to_apply` do what they do natively."""
    assert found["labels_top"] == found["labels"][:1]
    for name in ("sigmoid", "none"):
        body = {"inputs": "the film was good", "activation": name}
        assert found[f"labels_{name}"] == httpx.post(f"{url}/v1/classify", json=body).json()["results"][0]
        assert found[f"labels_{name}"] != found["labels"]


def test_candidate_labels(found: dict[str, Any]) -> None:
    """Each with its share of 1, the best first."""
    scores = [item["score"] for item in found["zero_shot"]]
    assert {item["label"] for item in found["zero_shot"]} == {"song", "film"}
    assert sum(scores) == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)


def test_answers(found: dict[str, Any]) -> None:
    """Spans of the context, by every way to name the address; the client keeps the first of several."""
    best = found["answer"]
    assert set(best) == {"answer", "start", "end", "score"}
    assert best["answer"] == CONTEXT[best["start"] : best["end"]] != ""
    for way in ("top", "named", "function", "endpoint"):
        assert found[f"answer_{way}"] == best, way


def test_parameters_of_answers(found: dict[str, Any]) -> None:
    """Short ones, and those of several windows."""
    assert len(found["answer"]["answer"].split()) > 1
    assert len(found["answer_short"]["answer"].split()) == 1
    windows = found["answer_windows"]
    assert windows["score"] != found["answer"]["score"]
    assert windows["answer"] == CONTEXT[windows["start"] : windows["end"]]


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("model", 404, "no model of that name"),
        ("task", 400, "not for classification"),
        ("parameter", 422, "top_k"),
        ("answer", 422, "stride"),
        ("key", 401, "a key is needed"),
        ("overload", 429, "waiting"),
    ],
)
def test_errors(found: dict[str, Any], name: str, status: int, words: str) -> None:
    """The client's own exception with status, reason and the request's id."""
    error = found[f"error_{name}"]
    assert error["error"] == "ProviderApiError"
    assert error["response"]["status"] == status
    assert error["response"]["requestId"]
    assert words in error["message"]
