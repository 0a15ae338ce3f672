"""A checkpoint by its name on the hub, against a stand-in that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.core.small import checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import sys
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.errors import CheckpointError
try:
    print(load_checkpoint(sys.argv[1]).source)
except CheckpointError as error:
    print("refused:", error)
"""


@contextmanager
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub with one model, `owner/name`: its address, and the files that were asked for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/owner/name"):
                if "/tree/" in path:
                    tree = [
                        {"type": "file", "path": entry.name, "size": entry.stat().st_size, "oid": COMMIT}
                        for entry in sorted(folder.iterdir())
                    ]
                    self._send(json.dumps(tree).encode(), body, {"content-type": "application/json"})
                    return
                files = [{"rfilename": entry.name} for entry in sorted(folder.iterdir())]
                info = {"id": "owner/name", "modelId": "owner/name", "sha": COMMIT, "siblings": files, "tags": []}
                self._send(json.dumps(info).encode(), body, {"content-type": "application/json"})
                return
            name = path.rpartition("/")[2]
            if not path.startswith("/owner/name/resolve/") or not (folder / name).is_file():
                self.send_response(404)
                self.send_header("content-length", "0")
                self.end_headers()
                return
            content = (folder / name).read_bytes()
            if body:
                asked.append(name)
            self._send(content, body, {"etag": f'"{sha1(content).hexdigest()}"', "x-repo-commit": COMMIT})  # noqa: S324

        def _send(self, content: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(200)
            for key, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", ["owner/name", "owner/other"])
@pytest.mark.slow
def test_a_name_of_the_hub_is_fetched_without_pickles(name: str, tmp_path: Path) -> None:
    """Settings, vocabulary and safetensors, and nothing else; an unknown name is one line."""
    model = checkpoint(tmp_path / "model", "bert", "classification")
    for other in ("pytorch_model.bin", "training_args.bin", "modeling_mine.py"):
        (model / other).write_bytes(b"raise SystemExit")
    with hub(model) as (address, asked):
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_DISABLE_XET": "1",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run(
            [sys.executable, "-c", LOAD, name], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[-2000:]
    if name == "owner/name":
        assert done.stdout.strip() == name
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(asked)
        assert not {file for file in asked if file.endswith((".bin", ".py"))}
    else:
        assert done.stdout.startswith(f"refused: {name}: neither a directory here nor a model that the hub gave")
