"""Measures a profile: batches alone, and then requests to a real server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pgb_core.artifact import open_artifact
from pgb_core.errors import ConfigError
from pgb_core.inference.choose import Asked, choose
from pgb_core.machine import facts, usable_cores
from service.planning.batches import Opening, Timed, grid, time_batches
from service.planning.overhead import measure_overhead
from service.planning.profile import Profile, Times
from service.settings import Settings

_WAITED = 0.05  # of the time
_SPREAD = 0.25  # of the middle half of the runs; with more, something else used the machine
_LINE = [(1, 1)]
Told = Callable[[str], None]


def sizes_here() -> list[tuple[int, int]]:
    """Workers and threads to measure where none are named: one core, all cores as threads, and all as workers."""
    cores = usable_cores()
    return list(dict.fromkeys([(1, 1), (1, cores), (cores, 1)]))


def measure(folder: Path, settings: Settings, sizes: Sequence[tuple[int, int]], told: Told) -> Profile:
    """The profile of an artifact on the CPU, in the form of the settings. told: hears what is done.

    Raises ConfigError when a size has more cores than there are, or the settings name another device; ResourceError
    when a process fails; and what opening an artifact raises.
    """
    if settings.device != "cpu":
        raise ConfigError(f"device {settings.device}: capacity is planned for models on the CPU; leave it out")
    for workers, threads in sizes:
        if workers * threads > usable_cores():
            raise ConfigError(
                f"--sizes {workers}x{threads}: that needs {workers * threads} cores, and this process may use "
                f"{usable_cores()}; measure on a machine that has them"
            )
    artifact = open_artifact(folder)
    manifest = artifact.manifest
    chosen = choose(artifact, Asked(settings.form, settings.device, settings.runtime, 1, settings.max_form_drop))
    opening = Opening(str(artifact.path), chosen.form, chosen.kind, chosen.runtime.device)
    shapes = grid(manifest.max_length, settings.max_batch_tokens)
    chosen.runtime.close()
    timed: list[Timed] = []
    for workers, threads in dict.fromkeys([*_LINE, *sizes]):
        told(f"timing batches, {workers} x {threads} threads")
        timed.append(time_batches(opening, shapes, workers, threads))
    told("timing requests")
    overhead = measure_overhead(artifact, opening.form, settings, Times(timed[0].taken))
    return Profile(
        model=manifest.name,
        digest=artifact.digest,
        task=manifest.task,
        form=opening.form,
        runtime=opening.runtime,
        device=opening.device,
        max_length=manifest.max_length,
        batch_tokens=settings.max_batch_tokens,
        weights_kept=round(manifest.weights["kept"] / manifest.weights["dense"], 4),
        machine=facts(),
        busy=_busy(timed),
        overhead=overhead,
        sizes=[one.size for one in timed],
    )


def _busy(timed: Sequence[Timed]) -> str | None:
    """Why the times are not to be trusted, if they are not."""
    waited = 1 - sum(p.seconds for p in timed[0].taken) / sum(p.seconds for p in timed[0].size.points)
    differs = max(one.differs for one in timed)
    said = []
    if waited > _WAITED:
        said.append(f"a thread that was ready did not run {100 * waited:.0f}% of the time")
    if differs > _SPREAD:
        said.append(f"half of the runs of a batch differ by {100 * differs:.0f}%")
    return "; ".join(said) or None
