"""The serving image, run by a real engine as confined as it can be."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.engine import ROOT, SERVED, Clients, Container, EngineError, container

Docker = Callable[..., str]
MEGABYTES = 350
QUICK = "--env=PGB_DRAIN_SECONDS=0.5"
ASKED = {"model": "mood", "inputs": ["the town sang a song"] * 8}
# The kernel ends the service, not the program that takes the memory: its own score is the lower one.
TAKE_MEMORY = """
(served / 'oom_score_adj').write_text('1000')
held = [b'x' * (8 << 20) for _ in range(64)]
"""
KILL = "os.kill(int(served.name), signal.SIGKILL)"


@pytest.fixture(scope="module")
def running(image: str, artifacts: tuple[Path, Path]) -> Iterator[Container]:
    """Both models, with half a gigabyte."""
    served = dict(zip(("mood", "who"), artifacts, strict=True))
    with container(image, served, "--memory=512m", "--memory-swap=512m", QUICK) as started:
        started.ready()
        yield started


def test_the_image_is_small_and_described(docker: Docker, image: str) -> None:
    """Without a model, as the engine counts it."""
    found = json.loads(docker("image", "inspect", image))[0]
    assert found["Size"] < MEGABYTES * 1_000_000
    config = found["Config"]
    labels = {name.removeprefix("org.opencontainers.image.") for name in config["Labels"]}
    assert labels >= {"title", "description", "licenses", "version", "revision", "base.name"}
    assert config["StopSignal"] == "SIGTERM"


def test_nothing_is_there_to_build_or_to_script_with(docker: Docker, image: str) -> None:
    """No shell, no compiler, no package manager, no torch: programs are Python alone."""
    code = (
        "import importlib.util as u, os, shutil\n"
        "programs = {name for folder in ('/bin', '/sbin', '/usr/bin', '/usr/sbin', '/usr/local/bin')"
        " if os.path.isdir(folder) for name in os.listdir(folder)}\n"
        "assert programs <= {'python', 'python3', 'python3.11'}, programs\n"
        "assert not any(map(shutil.which, ('sh', 'bash', 'gcc', 'cc', 'pip', 'apt-get', 'curl')))\n"
        "assert not any(map(u.find_spec, ('pip', 'ensurepip', 'torch', 'transformers', 'huggingface_hub')))\n"
        "assert (os.getuid(), os.getgid()) == (10001, 10001)"
    )
    docker("run", "--rm", "--entrypoint=python", image, "-c", code)


def test_a_package_that_is_not_the_locked_one_is_not_installed(docker: Docker, image: str, tmp_path: Path) -> None:
    """With the hashes of the first package changed there is no image."""
    for folder in ("docker", "service", "pgb_core"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    lock = tmp_path / "docker/locks/serve.txt"
    first, *others = re.split(r"\n(?=\w)", lock.read_text().partition("make lock\n")[2])
    lock.write_text("\n".join([re.sub("sha256:.{8}", "sha256:00000000", first), *others]))
    with pytest.raises(EngineError, match="DO NOT MATCH THE HASHES"):
        docker("build", f"--file={ROOT}/Dockerfile", tmp_path)


def test_it_answers_both_tasks_and_turns_healthy(running: Container) -> None:
    """Confined, from a root that cannot be written, with no place to write at all."""
    status, body = running.ask("/v1/classify", ASKED)
    assert status == 200
    assert len(json.loads(body)["results"]) == 8
    assert running.ask("/v1/answer", {"question": "who sang", "context": "the town sang a song"})[0] == 200
    running.wait("{{.State.Health.Status}}", "healthy", 20)
    state = running.inspect()["HostConfig"]
    assert state["ReadonlyRootfs"]
    assert state["CapDrop"] == ["ALL"]
    assert int(running.python("print(open('/proc/self/status').read().split('CapBnd:')[1].split()[0])"), 16) == 0


def test_it_says_nothing_but_its_log(running: Container) -> None:
    """Every line is JSON: no library complains of a file system that it may not write."""
    for line in running.logs().splitlines():
        assert json.loads(line)["message"]


def test_the_health_check_fails_while_it_drains(image: str, artifacts: tuple[Path, Path]) -> None:
    """The engine's probe asks what a balancer would ask."""
    with container(image, {"mood": artifacts[0]}, "--env=PGB_DRAIN_SECONDS=30") as started:
        started.ready()
        probe = started.inspect()["Config"]["Healthcheck"]["Test"][1:]
        check = f"import subprocess, sys; print(subprocess.run({probe!r}).returncode)"
        assert started.python(check) == "0"
        started.python("import os; os.kill(1, 15)")
        time.sleep(0.5)
        assert started.python(check) == "1"


def test_a_file_of_settings_wins_over_the_image(image: str, artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    """And the health check finds the service where the file put it."""
    file = tmp_path / "settings.toml"
    file.write_text('host = "::"\nport = 9000\nmodels_dir = "/others"\n')
    mounts = (f"--volume={file}:/settings.toml:ro", f"--volume={artifacts[0]}:/others/mood:ro")
    with container(image, {"who": artifacts[1]}, "--env=PGB_CONFIG=/settings.toml", QUICK, *mounts) as started:
        started.wait("{{.State.Health.Status}}", "healthy", 60)
        ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9000/health').read().decode())"
        assert [model["name"] for model in json.loads(started.python(ask))["models"]] == ["mood"]


def test_a_signal_under_load_ends_it_with_0_in_its_grace(
    image: str, docker: Docker, artifacts: tuple[Path, Path]
) -> None:
    """What was accepted is answered; then it goes."""
    with container(image, {"mood": artifacts[0]}, "--env=PGB_DRAIN_SECONDS=1", "--memory=512m") as started:
        started.ready()
        with Clients(started, 16, "/v1/classify", ASKED) as clients:
            time.sleep(1)
            docker("stop", "--time=30", started.name)
            answered = clients.got["200"]
        state = started.inspect()["State"]
        assert state["ExitCode"] == 0
        assert set(clients.got) <= {"200", "refused"}
        assert answered > 16


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_a_signal_while_it_starts_ends_it_at_once(delay: float, image: str, docker: Docker) -> None:
    """Also before Python has said that it wants to hear of signals."""
    with container(image, {}) as started:
        time.sleep(delay)
        begun = time.monotonic()
        docker("stop", "--time=20", started.name)
        assert time.monotonic() - begun < 15
        assert started.inspect()["State"]["ExitCode"] != 137


def test_a_missing_model_ends_it_with_a_reason(image: str) -> None:
    """One line, and a status that a restart policy acts on."""
    with container(image, {}, "--env=PGB_ARTIFACTS=/models/none") as started:
        started.wait("{{.State.Status}}", "exited", 30)
        assert started.inspect()["State"]["ExitCode"] == 1
        assert started.logs().splitlines()[-1].startswith("pgb serve: /models/none")


@pytest.mark.parametrize("cause", ["memory", "kill"])
def test_the_restart_policy_brings_it_back(
    cause: str, image: str, docker: Docker, artifacts: tuple[Path, Path]
) -> None:
    """It is killed by the kernel for want of memory, or by a signal; seconds later it answers again."""
    options = ("--restart=unless-stopped", "--memory=256m", "--memory-swap=256m", QUICK)
    with container(image, {"mood": artifacts[0]}, *options) as started:
        started.ready()
        since = str(time.time())
        with suppress(EngineError):  # the command ends with the container
            started.python(SERVED + (TAKE_MEMORY if cause == "memory" else KILL))
        started.wait("{{.RestartCount}}", "1", 30)
        started.ready()
        assert started.ask("/v1/classify", ASKED)[0] == 200
        seen = docker(
            "events",
            f"--since={since}",
            f"--until={time.time()}",
            f"--filter=container={started.name}",
            "--format={{.Action}}",
        )
        assert ("oom" in seen.split()) == (cause == "memory")
