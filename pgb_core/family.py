"""Makes several sizes of one model in one run, each from the one before it.

Every size is an artifact of its own, `keep-SIZE` in the directory of the family. The trained model of a size is put
into the dense model's coordinates. There it takes the place of the dense one for the next size: it is scored, planned,
cut, compensated and re-finetuned. So every plan is for the dense checkpoint, and weights, checks and metrics are told
against that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pgb_core.artifact import Artifact
from pgb_core.config import CompressConfig
from pgb_core.methods import method_of
from pgb_core.model.encoder import Encoder
from pgb_core.model.surgery import expanded
from pgb_core.pipeline import Job, cache_of, made, tell_untried
from pgb_core.progress.part import PartReport
from pgb_core.progress.report import Report
from pgb_core.run.effort import job_effort
from pgb_core.run.output import Output, check_folder
from pgb_core.run.run import Run, Start
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, locked
from pgb_core.threads import threads


def family(config: CompressConfig, report: Report) -> list[Artifact]:
    """Make every size that the settings name, the largest first. Raises PGBError.

    The places of all of them are checked before the work begins. A run that stops keeps the artifacts that stand and
    the stages of every size; the same command goes on from there.
    """
    tell_untried(config, report)
    check_folder(config.out, config.checkpoint)
    members = config.members()
    outputs = [Output(member) for member in members]
    shared, start, done = Shared(cache_of(config)), None, []
    with locked(Path(config.out), report.warn) as workspace:
        parts = [workspace.part(Path(member.out).name) for member in members]
        for output, part in zip(outputs, parts, strict=True):
            output.settle(part, report)
        with threads(config.threads):
            report.begin(_work(members, report, workspace, shared))
        for member, output, part in zip(members, outputs, parts, strict=True):
            if member.resume and not part.stages():
                member = member.model_copy(update={"resume": None})  # a size that the stopped run had not begun
            told = PartReport(report, _named(member))
            artifact, run = made(Job(member, output, told, shared, start), part)
            done.append(artifact)
            start = _start(run, artifact)
        workspace.finish()
    return done


def _named(member: CompressConfig) -> str:
    return f"keep {member.keep}"


def _start(run: Run, artifact: Artifact) -> Start:
    """What the next size begins with: the model that a run has made, from the stages that it keeps."""
    method = method_of(run.config)

    def make() -> Encoder:
        found = method.compress(run.silent)
        return expanded(found.model, found.plan)

    return Start(method.stages(run)[-1], make, {"keep": run.config.keep, "manifest_sha256": artifact.digest})


def _work(members: Sequence[CompressConfig], report: Report, workspace: Workspace, shared: Shared) -> dict[str, float]:
    """Expected work of all sizes, by title."""
    first = Run.begin(members[0], report, workspace, shared)
    found: dict[str, float] = {}
    for member in members:
        run = replace(first, config=member)
        for title, work in job_effort(run, method_of(member).effort(run)).items():
            found[PartReport.titled(_named(member), title)] = work
    return found
