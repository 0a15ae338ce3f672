"""How many cores and how much memory a process may use."""

from pathlib import Path

import pytest

from pgb_core import machine

V2, V1 = "0::/a/b\n", "9:name=systemd:/\n3:cpuset:/\n2:cpu,cpuacct:/docker/4f\n0::/\n"


def grouped(own: str, files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these be the files of control groups, and the groups of this process."""
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(f"{text}\n")
    (folder / "own").write_text(own)
    monkeypatch.setattr(machine, "_GROUPS", folder / "groups")
    monkeypatch.setattr(machine, "_OWN", folder / "own")


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("", {}, 8),
        (V2, {"a/b/cpu.max": "max 100000"}, 8),
        (V2, {"a/b/cpu.max": "300000 100000"}, 3),
        (V2, {"a/b/cpu.max": "max 100000", "a/cpu.max": "250000 100000", "cpu.max": "max 100000"}, 3),
        (V2, {"a/b/cpu.max": "50000 100000"}, 1),
        (V2, {"a/b/cpu.max": "1600000 100000"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/../x\n", {"cpu.max": "200000 100000"}, 2),
        (V2, {"a/b/cpu.max": "nonsense"}, 8),
        (V1, {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        (V1, {"cpu/docker/4f/cpu.cfs_quota_us": "150000", "cpu/docker/4f/cpu.cfs_period_us": "50000"}, 3),
    ],
)
def test_cores_are_those_of_the_control_group(
    own: str, files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 or 2, of the process's own group or one above it, seen from a container or from the host."""
    grouped(own, files, tmp_path, monkeypatch)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert machine.usable_cores() == cores


KILO = {"a/b/memory.max": "1000000", "a/b/memory.current": "900000", "a/b/memory.stat": "anon 5\ninactive_file 50000"}
OLD = {"memory/memory.limit_in_bytes": "2000000", "memory/memory.usage_in_bytes": "500000"}


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("", {}, 8_192_000),
        (V2, {"a/b/memory.max": "max", "a/b/memory.current": "1"}, 8_192_000),
        (V2, KILO, 150_000),
        (V2, KILO | {"a/memory.max": "120000", "a/memory.current": "100000", "a/memory.stat": ""}, 20_000),
        (V2, {"a/b/memory.max": "nonsense"}, 8_192_000),
        ("5:memory:/\n", OLD | {"memory/memory.stat": "total_inactive_file 1000"}, 1_501_000),
    ],
)
def test_memory_is_what_the_machine_and_the_control_group_have_left(
    own: str, files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that the system may forget are left; None where nothing is told."""
    grouped(own, files, tmp_path, monkeypatch)
    (tmp_path / "meminfo").write_text("MemTotal: 16000 kB\nMemAvailable:    8000 kB\n")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    assert machine.free_memory() == free
    monkeypatch.setattr(machine, "_OWN", tmp_path / "none")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "none")
    assert machine.free_memory() is None


def test_no_more_than_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are no control groups."""
    monkeypatch.setattr(machine, "_OWN", tmp_path / "none")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {5})
    assert machine.usable_cores() == 1


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_whoever_has_said_how_threads_wait_is_obeyed(name: str) -> None:
    """By any of the names under which an OpenMP takes it."""
    given = {name: "7"}
    machine.wait_passively(given)
    assert given == {name: "7"}


def test_threads_wait_passively_where_nobody_said_how() -> None:
    """For GNU's OpenMP and for LLVM's."""
    environment = {"HOME": "/"}
    machine.wait_passively(environment)
    assert environment == {"HOME": "/", "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
