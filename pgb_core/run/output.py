"""Where an artifact is written. Checked before the work begins, and again at its end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgb_core.artifact import MANIFEST, check_replaceable, open_artifact, repair, writable
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, ConfigError
from pgb_core.machine import usable_cores
from pgb_core.progress.report import Report
from pgb_core.run.cache import place_of
from pgb_core.run.run import Run, Stage
from pgb_core.run.workspace import Workspace, check_space, key_of

LONGEST = 200  # bytes of a name; file systems take 255, and the names beside it have more


class Output:
    """The place of one run's artifact, and what the run before this one left there.

    Raises ConfigError or ArtifactError when no artifact may be written there.
    """

    def __init__(self, config: CompressConfig) -> None:
        check_place(config.out, config.checkpoint, config.cache)
        self._config = config
        self._before: str | None = None  # the digest of what stood there
        self._kept: Mapping[str, Any] = {}
        self._settings: dict[str, object] = {}
        self._workspace: Workspace | None = None

    def settle(self, workspace: Workspace, report: Report) -> None:
        """Look at what is there, and tidy up after a writer that was killed. Raises ArtifactError.

        workspace: held by this process.
        """
        out = Path(self._config.out)
        mended = repair(out)
        if mended:
            report.warn(mended)
        self._workspace, self._kept, self._before = workspace, workspace.run(), standing(out)
        if not self._written:
            self._check_free()

    @property
    def threads(self) -> int | None:
        """Those of the stopped run, if its stages may be taken over; None for as many as there are cores."""
        found = self._kept.get("threads")
        fits = isinstance(found, int) and 0 < found <= usable_cores() and self._config.resume is not False
        return self._config.threads or (found if fits else None)

    def begin(self, run: Run, stages: Sequence[Stage], threads: int) -> bool:
        """Take over what fits, and say what this run is; True when the stopped run had just written its artifact.

        stages: of the method. threads: that are computed on. Raises PGBError when the run cannot begin.
        """
        config, workspace = self._config, run.workspace
        self._settings = {
            "digest": stages[-1].digest,
            "asked": key_of(stages[-1].digest, config.forms, run.meaning, run.inputs.calibration_digest),
            "force": config.force,
            "threads": threads,
        }
        if self._written and self._kept.get("asked") == self._settings["asked"]:
            run.report.note(f"{config.out}: the stopped run had just written it")
            workspace.finish()
            return True
        self._check_free()
        check_space(workspace.path, _bytes_needed(run, stages))
        self._take_over(run, stages)
        workspace.save_run(self._settings)
        return False

    def ready(self, digest: str) -> None:
        """An artifact is about to be put in place. Raises ArtifactError when something else came there.

        digest: of its manifest.
        """
        out = self._config.out
        check_replaceable(out)
        if standing(out) != self._before:
            raise ArtifactError(
                f"{out}: something appeared there while the run went on; move it away and go on with --resume"
            )
        if self._workspace is not None:
            self._workspace.save_run({**self._settings, "published": digest})

    def _take_over(self, run: Run, stages: Sequence[Stage]) -> None:
        """Say which stages of a stopped run are taken over. Raises ConfigError when it was to be the same run."""
        workspace, out, resume = run.workspace, run.config.out, run.config.resume
        names = workspace.stages()
        if resume and self._kept and self._kept.get("digest") != stages[-1].digest:
            raise ConfigError(
                f"{out}: the stopped run had other settings or data; leave --resume out to take over what fits of it"
            )
        if resume is False:
            workspace.clear()
        elif resume and not names:
            run.report.note(f"{out}: nothing is kept of a stopped run; this one starts anew")
        elif names:
            digests = {stage.name: stage.digest for stage in stages}
            fits = [name for name in names if workspace.size(name, digests.get(name, ""))]
            if fits:
                run.report.note(f"taken over from a stopped run: {', '.join(fits)}")
            if len(fits) < len(names):
                left = ", ".join(name for name in names if name not in fits)
                run.report.note(f"of other settings, and done again: {left}")

    def _check_free(self) -> None:
        """Raises ArtifactError when an artifact stands there that nobody said may go."""
        forced = self._config.force or (self._config.resume and self._kept.get("force") is True)
        if self._before is not None and not forced:
            raise ArtifactError(
                f"{self._config.out}: holds an artifact; --force replaces it when the new one is done, or choose "
                "another"
            )

    @property
    def _written(self) -> bool:
        """Whether a run ended after its artifact was in place and before it could say so."""
        resumed = self._config.resume is not False and self._before is not None
        return resumed and self._kept.get("published") == self._before


def _bytes_needed(run: Run, stages: Sequence[Stage]) -> int:
    """What stages and artifact take on the disk, about, beside what is kept there already."""
    config, model = run.config, run.checkpoint.model
    encoder = sum(linear.in_features * linear.out_features for linear in model.sites().values())
    rest = sum(parameter.numel() for parameter in model.parameters()) - encoder
    stored = config.options.stored(config.keep) * encoder
    small = rest + stored
    kept = encoder + small + (2 * (rest + (3 + config.best_state) * stored) if config.trains else 0)
    if not config.options.compensates:  # the dense model in training, and as much again for what else is learned
        kept += 2 * (rest + 6 * encoder)
    # Forms are written twice, to be tried before the artifact is there.
    needed = int(4 * ((0 if config.as_it_is else kept) + 2 * small * len(config.forms)))
    return max(0, needed - sum(run.workspace.size(stage.name, stage.digest) for stage in stages))


def check_place(out: str | Path, checkpoint: str | Path, cache: str | None = "") -> None:
    """Raises ConfigError or ArtifactError when an artifact must not be written there.

    cache: as --cache names it; None for its usual place, empty for none.
    """
    _check_where(out, checkpoint)
    check_replaceable(out)
    check_cache(out, cache)


def check_cache(out: str | Path, cache: str | None) -> None:
    """Raises ConfigError when the cache would be in the place of an artifact, which then could not be put there."""
    place = place_of(cache)
    if place is None:
        return
    where, root = place.resolve(), Path(out).resolve()
    if where == root or root in where.parents:
        said = f"--cache {cache}" if cache else f"PGB_CACHE or XDG_CACHE_HOME: the cache {place}"
        raise ConfigError(
            f"{said}: is the place of an artifact, {out}, or in it; name a directory elsewhere, or --cache '' for none"
        )


def check_folder(out: str | Path, checkpoint: str | Path) -> None:
    """Raises ConfigError when several artifacts must not be written there, each to a directory of its own."""
    _check_where(out, checkpoint)
    root = Path(out)
    if (root / MANIFEST).exists() or (root.exists() and not root.is_dir()):
        raise ConfigError(f"--out {out}: is no directory for several artifacts; choose another")


def _check_where(out: str | Path, checkpoint: str | Path) -> None:
    root = Path(out)
    if not root.name.isprintable() or not writable(root.name):
        raise ConfigError(f"--out {str(out)!a}: the name must be printable text in UTF-8, for the artifact bears it")
    if len(os.fsencode(root.name)) > LONGEST:
        raise ConfigError(
            f"--out {root.name[:40]}...: the name has {len(os.fsencode(root.name))} bytes, and at most {LONGEST} leave "
            "room for what is written beside it; choose a shorter one"
        )
    where = root.resolve()
    here = Path.cwd().resolve()
    if where == here or where in here.parents:
        raise ConfigError(f"--out {out}: is the directory that this command runs in, or above it; name a new one in it")
    if root.name == "..":
        raise ConfigError(f"--out {out}: ends in .., which is no name for the artifact; write the directory's own name")
    source = Path(checkpoint)
    if source.exists():
        source = source.resolve()
        if where == source or where in source.parents or source in where.parents:
            raise ConfigError(f"--out {out}: is the checkpoint's directory, inside it or above it; choose another")


def standing(out: str | Path) -> str | None:
    """The digest of the artifact that stands at an output, None without one."""
    root = Path(out)
    if not (root / MANIFEST).exists():
        return None
    try:
        return open_artifact(root).digest
    except ArtifactError:
        return "damaged"
