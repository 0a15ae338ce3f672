"""A graph that never ends its run: the load has a limit, and the process ends regardless."""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest

from benchmarks.service.process import cpu_seconds
from service.keys import make_key
from tests.served import serving


def endless_graph(inputs: list[str]) -> bytes:
    """Counts for ever before it gives logits."""
    h, kind = onnx.helper, onnx.TensorProto
    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["on"]), h.make_node("Add", ["v", "one"], ["w"])],
        "body",
        [
            h.make_tensor_value_info("i", kind.INT64, []),
            h.make_tensor_value_info("go", kind.BOOL, []),
            h.make_tensor_value_info("v", kind.FLOAT, []),
        ],
        [h.make_tensor_value_info("on", kind.BOOL, []), h.make_tensor_value_info("w", kind.FLOAT, [])],
        [onnx.numpy_helper.from_array(np.float32(1), "one")],
    )
    constants = [
        onnx.numpy_helper.from_array(np.array(True), "true"),
        onnx.numpy_helper.from_array(np.float32(0), "zero"),
    ]
    graph = h.make_graph(
        [h.make_node("Loop", ["", "true", "zero"], ["logits"], body=body)],
        "endless",
        [h.make_tensor_value_info(name, kind.INT64, ["batch", "tokens"]) for name in inputs],
        [h.make_tensor_value_info("logits", kind.FLOAT, [])],
        constants,
    )
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.fixture
def endless(artifacts: tuple[Path, Path], tmp_path: Path) -> Path:
    """An artifact with such a graph and the right hashes, in a folder of models beside one that is well."""
    folder = tmp_path / "models" / "mood"
    shutil.copytree(artifacts[0], folder / "1")
    shutil.copytree(artifacts[0], folder / "2")
    manifest = json.loads((folder / "2" / "manifest.json").read_text())
    content = endless_graph(manifest["inputs"])
    (folder / "2" / "model.onnx").write_bytes(content)
    manifest["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
    manifest["outputs"] = ["logits"]
    (folder / "2" / "manifest.json").write_text(json.dumps(manifest))
    return folder / "2"


def test_a_start_ends_with_the_reason(endless: Path, tmp_path: Path) -> None:
    """Exit 1, and the limit in the last line."""
    log = tmp_path / "log"
    with serving(endless, "--max-load-seconds", "1", wait=False, log_file=log) as (_, process):
        assert process.wait(40) == 1
    assert log.read_text().splitlines()[-1].endswith("it did not load within 1 seconds")


def test_a_signal_during_the_load_ends_the_process(endless: Path) -> None:
    """Long before the load's own limit."""
    with serving(endless, wait=False) as (url, process):
        while True:
            try:
                if httpx.get(f"{url}/health").status_code == 503:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.fixture
def served(endless: Path, tmp_path: Path) -> Iterator[tuple[str, int, str]]:
    """The model that is well, from the folder; the process; and an administrator's key."""
    key = make_key(tmp_path / "keys", "root", "admin")
    options = ("--models-dir", endless.parent.parent, "--keys-file", tmp_path / "keys", "--max-load-seconds", "1")
    with serving(endless.parent / "1", *options) as (url, process):
        yield url, process.pid, key


def test_a_load_while_serving_is_given_up_and_takes_nothing_more(served: tuple[str, int, str]) -> None:
    """424 with the limit; what was served answers on, and the graph runs no further."""
    url, pid, key = served
    headers = {"x-api-key": key}
    reply = httpx.post(f"{url}/v1/models/mood/load", json={"version": "2"}, headers=headers, timeout=40)
    assert reply.status_code == 424
    assert "within 1 seconds" in reply.json()["error"]["message"]
    time.sleep(0.5)
    before = cpu_seconds(pid)
    time.sleep(1.0)
    assert cpu_seconds(pid) - before < 0.5
    assert httpx.post(f"{url}/v1/classify", json={"inputs": "the film"}, headers=headers).status_code == 200
