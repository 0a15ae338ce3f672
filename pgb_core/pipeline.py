"""Makes an artifact from a checkpoint, by any method."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.export.forms import form_of, runtime_here
from pgb_core.export.parity import inputs_of
from pgb_core.export.write import MOST_COMPARED, Made, write
from pgb_core.forecast import known
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.methods import Compressed, Method, method_of
from pgb_core.methods.outlook import Outlook, outlook
from pgb_core.progress.report import Report
from pgb_core.run.cache import Cache, place_of
from pgb_core.run.effort import EXPORTING, job_effort
from pgb_core.run.output import Output, check_folder, check_place
from pgb_core.run.run import Run, Start
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace, locked
from pgb_core.tasks.features import Features
from pgb_core.tasks.metrics import Metrics
from pgb_core.tasks.parts import some
from pgb_core.threads import threads


@dataclass(frozen=True)
class Job:
    """One artifact to make, in a workspace that this process holds. start: None to begin with the dense model."""

    config: CompressConfig
    output: Output
    report: Report
    shared: Shared
    start: Start | None = None


def compress(config: CompressConfig, report: Report | None = None, shared: Shared | None = None) -> Artifact:
    """Plan, cut, recover, export. Raises PGBError.

    shared: with other runs of this process; by default with none, but for the cache that the settings name.

    What can be refused is refused before the work begins: the output's place, the checkpoint's tokenizer and tables,
    labels, and the dense model's own graph. After that every stage is kept beside the output until the artifact
    stands, whatever happens; the next run with the same output takes over the stages that fit it.
    """
    if config.sought:
        raise ConfigError("compress() makes one size; for max_drop and min_speedup use pgb_core.seek.seek()")
    if config.further:
        raise ConfigError("compress() makes one size; for several use pgb_core.family.family()")
    report = report or Report()
    if shared is None:  # who makes several tells it once
        tell_untried(config, report)
    shared = shared or Shared(cache_of(config))
    output = Output(config)
    with locked(Path(config.out), report.warn) as workspace:
        output.settle(workspace, report)
        return made(Job(config, output, report, shared), workspace)[0]


def tell_untried(config: CompressConfig, report: Report) -> None:
    """Warn, before the work, of forms whose runtime is not installed: what they lose will not be known."""
    for form in config.forms:
        if not runtime_here(form):
            entry = RUNTIMES[form_of(form).runtimes[0]]
            report.warn(
                f"form {form}: {entry.package} is not installed, so it is made and not tried; to try it, first pip "
                f"install '{entry.installed_by}' in a clone of pgb-serve"
            )


def made(job: Job, workspace: Workspace) -> tuple[Artifact, Run]:
    """The artifact of a job, and the run that made it. The job's output has settled. Raises PGBError."""
    config, output, report = job.config, job.output, job.report
    with threads(output.threads) as used:
        run, method = replace(Run.begin(config, report, workspace, job.shared), start=job.start), method_of(config)
        facts = {**run.check_labels(), "text_parity": asdict(run.text_parity)}
        if run.vocabulary:
            facts["vocabulary"] = run.vocabulary
        if output.begin(run, method.stages(run), used):
            return open_artifact(config.out), run
        report.begin(job_effort(run, method.effort(run)))
        done, metrics = _judged(run, method)
        report.stage(EXPORTING)
        parts = _parts(run, replace(done, measured={**facts, **done.measured}), metrics, used)
        artifact = write(config.out, parts, output.ready)
        report.end()
        workspace.finish()
        return artifact, run


def _judged(run: Run, method: Method) -> tuple[Compressed, Metrics | None]:
    """What the method gives, with all that was measured on the way, and the metrics of the model that it made."""
    started, before = time.perf_counter(), _taken_over(run, method)
    run.judge.of_dense()  # kept for later: it tells what an expected loss is of
    if run.shared.foretell:
        _foretell(run, method)
    done = method.compress(run)
    run.keep_teacher()
    metrics, accuracy = run.judge.of_last(done.model, run.config.trains)
    seconds = round(before + time.perf_counter() - started, 1)
    measured = {**accuracy, **done.measured, "stages": _by_stage(run, method), "seconds": seconds}
    return replace(done, measured=measured), metrics


def _parts(run: Run, done: Compressed, metrics: Metrics | None, used: int) -> Made:
    """What the artifact of a run is made of. metrics: of the model. used: threads that forms run on."""
    features, rows = _compared(run)
    start = {"start": run.start.said} if run.start else {}
    return Made(
        checkpoint=run.checkpoint,
        model=done.model.cpu(),
        plan=done.plan,
        forms=run.config.forms,
        features=features,
        rows=rows,
        observed=run.inputs.observed,
        reference=metrics,
        judge=run.judge.of,
        provenance={"settings": run.described(), **start},
        measured=done.measured,
        threads=used,
    )


def _foretell(run: Run, method: Method) -> None:
    """Say what is expected of a run, unless its last stage has begun."""
    ahead = None if run.under_way(method.stages(run)) else outlook(run, method)
    if ahead is not None:
        run.report.note(ahead.said)


def _by_stage(run: Run, method: Method) -> dict[str, dict[str, float]]:
    """What each stage measured of itself, by its name; without those that measured nothing."""
    every = {stage.name: run.records.of(stage.digest) for stage in method.stages(run)}
    return {name: figures for name, figures in every.items() if figures}


def _taken_over(run: Run, method: Method) -> float:
    """Seconds that the run before this one spent on what this one goes on from."""
    kept = [stage for stage in method.stages(run) if run.workspace.size(stage.name, stage.digest)]
    return sum(run.records.of(stage.digest).get("seconds", 0.0) for stage in kept)


def _compared(run: Run) -> tuple[list[Features], int]:
    """Inputs on which forms are held against the model: probe texts, then rows, held out where there are any.

    And how many of them are rows.
    """
    c, inputs = run.checkpoint, run.inputs
    rows = inputs.learned[len(inputs.observed) :]
    if inputs.held_out is not None:
        part = some(inputs.held_out, MOST_COMPARED)
        rows = c.task.encode(part.unlabelled, c.subject, c.tokenizer, min(c.task.length, c.max_length), Report())
    return [*inputs_of(c.probes, c.reading, c.task), *rows], len(rows)


def forecast(config: CompressConfig, report: Report) -> list[Outlook]:
    """What each size is expected to cost and to take, made from the dense model; nothing is trained. Raises PGBError.

    Scores, plans and compensated models are kept beside the output, and the compression goes on from them.
    """
    _check_forecast(config)
    shared, found = Shared(cache_of(config)), []
    with locked(Path(config.out), report.warn) as workspace, threads(config.threads):
        for member in config.members():
            part = workspace.part(Path(member.out).name) if config.further else workspace
            run = Run.begin(member, report, part, shared)
            run.check_labels()
            found.append(outlook(run, method_of(member)))
    return [ahead for ahead in found if ahead is not None]


def _check_forecast(config: CompressConfig) -> None:
    """Raises ConfigError or ArtifactError when no forecast can be made."""
    if config.sought:
        raise ConfigError("--forecast is of a size that --keep names; leave --max-drop and --min-speedup out")
    if not config.trains:
        raise ConfigError("--forecast tells what re-finetuning will give, and --epochs 0 asks for none")
    if config.as_it_is:
        raise ConfigError("--forecast tells what re-finetuning will give, and --keep 1 asks for none")
    method = known().method
    if config.method != method:
        raise ConfigError(
            f"--forecast: nothing is known of --method {config.method} before it trains; leave --forecast out, or give "
            f"--method {method}"
        )
    if config.further:
        check_folder(config.out, config.checkpoint)
    for member in config.members():
        check_place(member.out, config.checkpoint, config.cache)


def cache_of(config: CompressConfig) -> Cache | None:
    """Where stages outlive a run, as the settings say; None for nowhere. Raises ConfigError when it is no directory."""
    if config.cache and Path(config.cache).exists() and not Path(config.cache).is_dir():
        raise ConfigError(f"--cache {config.cache}: is no directory; name one, or leave --cache out")
    place = place_of(config.cache)
    return None if place is None else Cache(place)
