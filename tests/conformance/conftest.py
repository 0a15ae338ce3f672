"""Servers for the clients: one open to everyone, one with keys, a folder of models and little room."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgb_core.artifact import Artifact
from service.keys import make_key
from tests.served import serving

# Somebody holds HELD of ROOM bytes for as long as the tests run, so that TOO_MUCH is refused as overload.
ROOM, HELD = 50_000, 18_000
TOO_MUCH = "the film " * 2_000


@pytest.fixture(scope="session")
def url(artifacts: tuple[Path, Path]) -> Iterator[str]:
    """A server of `mood` and `who`, open to everyone."""
    with serving(*artifacts, "--threads", "1") as (found, _):
        yield found


@pytest.fixture(scope="session")
def several(artifacts: tuple[Path, Path], labelled: Callable[..., Artifact]) -> Iterator[str]:
    """A server of `mood` and `who`, of `rank`, which ranks, and of `nli`, which knows entailment."""
    rank, nli = labelled("relevant").path, labelled("contradiction", "neutral", "entailment").path
    with serving(*artifacts, f"rank={rank}", f"nli={nli}", "--threads", "1") as (found, _):
        yield found


@dataclass(frozen=True)
class Guarded:
    """A server that asks for keys, with those of a user and of an administrator."""

    url: str
    user: str
    admin: str

    @property
    def address(self) -> str:
        """Host and port, as v2 clients take them."""
        return self.url.removeprefix("http://")


@pytest.fixture(scope="session")
def guarded(artifacts: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with keys, which loads `mood` and `who` from a folder; HELD of its ROOM bytes are taken."""
    folder = tmp_path_factory.mktemp("guarded")
    for name, artifact in zip(("mood", "who"), artifacts, strict=True):
        shutil.copytree(artifact, folder / "models" / name / "1")
    keys = folder / "keys"
    user, admin = make_key(keys, "someone", "use"), make_key(keys, "root", "admin")
    limits = ("--max-pending-bytes", str(ROOM), "--max-body-bytes", str(ROOM * 2 // 5), "--max-body-seconds", "900")
    with serving("--models-dir", folder / "models", "--keys-file", keys, *limits, "--threads", "1") as (found, _):
        host, _, port = found.removeprefix("http://").partition(":")
        head = f"POST /v1/classify HTTP/1.1\r\nhost: a\r\nx-api-key: {admin}\r\ncontent-length: {HELD + 1}\r\n\r\n"
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(head.encode() + b" " * HELD)
            yield Guarded(found, user, admin)
