"""What can be known of the images and of the stack without an engine."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from service.settings import Settings

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "docker" / "locks"
DOCKERFILES = [ROOT / "Dockerfile", *sorted((ROOT / "docker").glob("*.Dockerfile"))]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINUX = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "python_version": "3.11"}
# What each lock installs for, beside the project's own dependencies; and what takes another's place in it.
EXTRAS = {"serve": ("otel",), "cuda": ("gpu", "otel"), "job": ("compress",)}
REPLACED = {"cuda": {"onnxruntime"}}


def locked(name: str) -> Iterator[tuple[str, Version, list[str]]]:
    """Package, version and hashes of each entry."""
    lines = [line for line in (LOCKS / f"{name}.txt").read_text().splitlines() if not line.startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        pin, *hashes = entry.split(" --hash=")
        package, version = pin.strip().split("==")
        yield canonicalize_name(package), Version(version), [part.strip() for part in hashes]


@pytest.mark.parametrize("path", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_package_has_one_version_and_hashes(path: Path) -> None:
    """Of sha256; and no index is named."""
    entries = list(locked(path.stem))
    assert entries
    assert len({name for name, _, _ in entries}) == len(entries)
    for name, _, hashes in entries:
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), name
    assert "://" not in path.read_text()


@pytest.mark.parametrize("lock", EXTRAS)
def test_locks_hold_what_the_project_asks_for(lock: str) -> None:
    """Every dependency that applies on Linux is there, in a version that it allows: `make lock` after a change."""
    found = {name: version for name, version, _ in locked(lock)}
    asked = [
        *PROJECT["dependencies"],
        *(name for extra in EXTRAS[lock] for name in PROJECT["optional-dependencies"][extra]),
    ]
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate(LINUX):
            continue
        if name not in REPLACED.get(lock, ()):
            assert name in found, requirement
            assert requirement.specifier.contains(found[name], prereleases=True), requirement


def test_the_serving_lock_holds_no_training_and_no_hub() -> None:
    """What the image has no need of is not in it."""
    found = {name for name, _, _ in locked("serve")}
    assert found.isdisjoint({"torch", "transformers", "scipy", "onnx", "huggingface-hub", "httpx"})


def test_images_that_share_a_package_share_its_version() -> None:
    """An artifact is checked by the runtime that will serve it."""
    serve = {name: version for name, version, _ in locked("serve")}
    job = {name: version for name, version, _ in locked("job")}
    shared = serve.keys() & job.keys()
    assert shared >= {"numpy", "onnxruntime", "pydantic", "tokenizers"}
    assert {name: serve[name] for name in shared} == {name: job[name] for name in shared}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_base_images_are_arguments(path: Path) -> None:
    """Only what was built before, nothing at all, or an argument stands behind FROM."""
    text = path.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.M))
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) <= stages | {"scratch", "${PYTHON_IMAGE}"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_start_as_a_number_in_exec_form(path: Path) -> None:
    """Kubernetes can see that a numeric user is not root; a shell would swallow the signal to stop."""
    text = path.read_text()
    assert re.findall(r"^USER (.*)", text, re.M) == ["10001:10001"]
    for word in ("ENTRYPOINT", "CMD"):
        assert all(rest.startswith("[") for rest in re.findall(rf"^\s*{word} (.*)", text, re.M))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_container_is_confined(name: str) -> None:
    """Memory without swap, processes, capabilities, privileges, file system, and the size of its log."""
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert service["pids_limit"] > 0
    assert service["logging"]["options"]["max-size"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "user"} & set(service)
    assert service.get("network_mode") in (None, "none")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", ["job", "service"])
def test_every_thread_of_a_large_machine_has_room(name: str) -> None:
    """128 cores: two models, a second form of one that is timed, tokenisers, the libraries' own. 128 were too few."""
    assert COMPOSE["services"][name]["pids_limit"] >= 6 * 128


def test_the_grace_is_longer_than_the_drain() -> None:
    """Otherwise the engine kills what is still being answered."""
    settings = Settings()
    grace = COMPOSE["services"]["service"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > settings.drain_seconds + settings.stop_seconds


def test_settings_in_images_and_stack_are_settings() -> None:
    """A PGB_ variable that does not exist would stop the service; and an image's own values lose to a file's."""
    known = {f"PGB_{name.upper()}" for name in Settings.model_fields}
    for path in DOCKERFILES:
        given = set(re.findall(r"\b(PGB_\w+)=", path.read_text()))
        of_the_job = {"PGB_CACHE"} if path.name == "job.Dockerfile" else set()
        assert given <= {name.replace("PGB_", "PGB_DEFAULT_") for name in known} | of_the_job
    for service in COMPOSE["services"].values():
        assert {name for name in service.get("environment", {}) if name.startswith("PGB_")} <= known


def test_images_are_checked_where_the_service_listens() -> None:
    """By the script, which a build finds."""
    checked = [path.read_text() for path in DOCKERFILES if "HEALTHCHECK" in path.read_text()]
    assert len(checked) == 2
    for text in checked:
        assert "COPY docker/healthcheck.py /app/healthcheck.py" in text
        assert '    CMD ["python", "-IS", "/app/healthcheck.py"]' in text
    assert "!docker/healthcheck.py" in (ROOT / ".dockerignore").read_text().splitlines()
