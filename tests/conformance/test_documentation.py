"""The examples of docs/clients.md, those of administration, and README's request, as they stand, on a real server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgb_core.artifact import Artifact
from service.keys import make_key
from tests.conformance.test_javascript import package
from tests.served import serving

__all__ = ["package"]
ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(sh|python|js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [found.groups() for found in _BLOCK.finditer((ROOT / "docs/clients.md").read_text())]
README = [body for kind, body in _BLOCK.findall((ROOT / "README.md").read_text()) if body.startswith("curl")]


@pytest.fixture(scope="module")
def address(
    artifacts: tuple[Path, Path], labelled: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of a server whose models are called as those of the demo; two more rank, and know entailment."""
    folder = tmp_path_factory.mktemp("documented")
    more = labelled("relevant").path, labelled("contradiction", "neutral", "entailment").path
    for name, artifact in zip(("sentiment", "answers", "ranks", "topics"), (*artifacts, *more), strict=True):
        shutil.copytree(artifact, folder / name)
    with serving("--models-dir", folder, "--threads", "1") as (url, _):
        yield url.removeprefix("http://")


def run(command: list[str], address: str, body: str, folder: Path | None = None) -> str:
    """What an example prints, when it asks `address` in place of port 8000."""
    assert "localhost:8000" in body
    body = body.replace("localhost:8000", address)
    done = subprocess.run([*command, body], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("body", [body for kind, body in EXAMPLES if kind == "sh"] + README)
def test_commands(address: str, body: str) -> None:
    """curl fails on anything but success."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert run(["sh", "-ec"], address, body.replace("curl -s ", "curl -sS --fail-with-body "))


def test_administration(artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of docs/serving.md, one after the other."""
    (body,) = (body for _, body in _BLOCK.findall((ROOT / "docs/serving.md").read_text()) if "$ADMIN" in body)
    versions = tmp_path / "models" / "reviews"
    for version in ("1", "2"):
        shutil.copytree(artifacts[0], versions / version)
    monkeypatch.setenv("ADMIN", make_key(tmp_path / "keys", "somebody", "admin"))
    start = [f"reviews={versions / '1'}", "--models-dir", tmp_path / "models", "--keys-file", tmp_path / "keys"]
    with serving(*start) as (url, _):
        said = run(["sh", "-ec"], url.removeprefix("http://"), body.replace("curl -s ", "curl -sS --fail-with-body "))
    assert said == '{"name":"reviews","version":"2","state":"READY","reason":""}\n204\n204\n'


@pytest.mark.parametrize("body", [body for kind, body in EXAMPLES if kind == "python"])
def test_python(address: str, body: str) -> None:
    """Each is a program of its own."""
    assert run([sys.executable, "-c"], address, body)


@pytest.mark.parametrize("body", [body for kind, body in EXAMPLES if kind == "js"])
def test_javascript(address: str, body: str, package: Path) -> None:
    """A module."""
    assert run(["node", "--input-type=module", "--eval"], address, body, package)


def test_every_dialect_is_shown() -> None:
    """And each in every language that it has a client in."""
    assert len(README) == 1
    assert {kind for kind, _ in EXAMPLES} == {"sh", "python", "js"}
    text = "".join(body for _, body in EXAMPLES)
    for path in (
        *(
            "/v1/classify",
            "/answer",
            "base_url",
            "/models/sentiment",
            "/predict",
            "/info",
            "/v2/models",
            "/rerank",
            "aio",
        ),
        *("/invocations", "/v1/models/sentiment:predict"),
    ):
        assert path in text
