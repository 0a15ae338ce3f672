"""Where an artifact may go: settled before the work begins, and held to at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgb_core.artifact import MANIFEST, check_replaceable, open_artifact, repair, writable
from pgb_core.config import CompressConfig
from pgb_core.errors import ArtifactError, ConfigError
from pgb_core.machine import usable_cores
from pgb_core.progress.report import Report
from pgb_core.run.run import Run, Stage
from pgb_core.run.workspace import Workspace, check_space, key_of


@dataclass(frozen=True)
class Standing:
    """The artifact that stands at an output, by the digest of its manifest; None for none."""

    digest: str | None


class Output:
    """The place of one run's artifact, and what the run before this one left there.

    threads: to compute on; those of the stopped run, if there are so many cores and its stages may be taken over.
    """

    def __init__(self, config: CompressConfig) -> None:
        self._config = config
        self._before = Standing(None)
        self._kept: Mapping[str, Any] = {}
        self._settings: dict[str, object] = {}
        self._workspace: Workspace | None = None

    @classmethod
    def checked(cls, config: CompressConfig) -> Output:
        """Raises ConfigError or ArtifactError when no artifact may be written there."""
        check_place(config.out, config.checkpoint)
        return cls(config)

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
            check_standing(out, self._before, self._forced)

    @property
    def threads(self) -> int | None:
        """None for as many as there are cores."""
        found = self._kept.get("threads")
        fits = isinstance(found, int) and 0 < found <= usable_cores() and self._config.resume is not False
        return self._config.threads or (found if fits else None)

    def begin(self, run: Run, stages: Sequence[Stage], threads: int) -> bool:
        """Take over what fits, and say what this run is; True when the stopped run had just written its artifact.

        stages: of the method. threads: that are computed on. Raises PGBError when the run cannot begin.
        """
        config, workspace = self._config, run.workspace
        scored = [repr(row) for row in run.inputs.held_out.rows] if run.inputs.held_out else []
        self._settings = {
            "digest": stages[-1].digest,
            "asked": key_of(stages[-1].digest, config.weights, config.target, scored),
            "force": config.force,
            "threads": threads,
        }
        if self._written and self._kept.get("asked") == self._settings["asked"]:
            run.report.note(f"{config.out}: the stopped run had just written it")
            workspace.finish()
            return True
        check_standing(config.out, self._before, self._forced)
        check_space(workspace.path, run.bytes_needed(stages))
        run.take_over(stages, self._kept)
        workspace.save_run(self._settings)
        return False

    def ready(self, digest: str) -> None:
        """An artifact is about to be put in place. Raises ArtifactError when something else came there.

        digest: of its manifest.
        """
        check_unchanged(self._config.out, self._before)
        if self._workspace is not None:
            self._workspace.save_run({**self._settings, "published": digest})

    @property
    def _forced(self) -> bool:
        return self._config.force or (bool(self._config.resume) and self._kept.get("force") is True)

    @property
    def _written(self) -> bool:
        """Whether a run ended after its artifact was in place and before it could say so."""
        before = self._before.digest
        return self._config.resume is not False and before is not None and self._kept.get("published") == before


def check_place(out: str | Path, checkpoint: str | Path) -> None:
    """Raises ConfigError or ArtifactError when an artifact must not be written there."""
    root = Path(out)
    if not root.name.isprintable() or not writable(root.name):
        raise ConfigError(f"--out {str(out)!a}: the name must be printable text in UTF-8, for the artifact bears it")
    where = root.resolve()
    here = Path.cwd().resolve()
    if where == here or where in here.parents:
        raise ConfigError(f"--out {out}: is the directory that this command runs in, or above it; name a new one in it")
    source = Path(checkpoint)
    if source.exists():
        source = source.resolve()
        if where == source or where in source.parents or source in where.parents:
            raise ConfigError(f"--out {out}: is the checkpoint's directory, inside it or above it; choose another")
    check_replaceable(root)


def standing(out: str | Path) -> Standing:
    """What stands at an output."""
    root = Path(out)
    if not (root / MANIFEST).exists():
        return Standing(None)
    try:
        return Standing(open_artifact(root).digest)
    except ArtifactError:
        return Standing("damaged")


def check_standing(out: str | Path, before: Standing, force: bool) -> None:
    """Raises ArtifactError when an artifact stands there that nobody said may go."""
    if before.digest is not None and not force:
        raise ArtifactError(
            f"{out}: holds an artifact; --force replaces it when the new one is done, or choose another"
        )


def check_unchanged(out: str | Path, before: Standing) -> None:
    """Raises ArtifactError when something else stands at an output than when the run began."""
    check_replaceable(out)
    if standing(out) != before:
        raise ArtifactError(
            f"{out}: something appeared there while the run went on; move it away and go on with --resume"
        )
