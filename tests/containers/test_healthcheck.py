"""The health check of the images, beside a service that runs on this machine."""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path

import pytest

from tests.served import serving

CHECK = runpy.run_path(str(Path(__file__).parents[2] / "docker" / "healthcheck.py"))


def proc(folder: Path, process: int) -> Path:
    """/proc with one process alone."""
    (folder / str(process)).symlink_to(f"/proc/{process}")
    (folder / "net").symlink_to("/proc/net")
    return folder


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])  # noqa: S104
def test_it_asks_where_the_service_listens(
    host: str, artifacts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever set that, here a file and a flag; while the model loads, the answer is no."""
    file = tmp_path / "settings.toml"
    file.write_text(f'host = "{host}"\n')
    with serving(artifacts[0], "--threads=1", f"--config={file}", wait=False) as (url, process):
        one = proc(tmp_path, process.pid)
        until = time.monotonic() + 60
        while CHECK["main"](one) != 0:
            assert time.monotonic() < until, capsys.readouterr().out
            time.sleep(0.05)
        assert list(CHECK["listening"](one)) == [(host, int(url.rpartition(":")[2]))]


def test_a_process_that_does_not_listen_is_not_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the engine, which keeps what the check prints, is told why."""
    assert CHECK["main"](proc(tmp_path, os.getpid())) == 1
    assert capsys.readouterr().out == "the service does not listen\n"
