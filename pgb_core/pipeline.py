"""Makes an artifact from a checkpoint, by any method."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from pgb_core.artifact import Artifact, open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import ConfigError
from pgb_core.export.write import Made, write
from pgb_core.methods import method_of
from pgb_core.progress.report import Report
from pgb_core.run.cache import Cache, usual_place
from pgb_core.run.effort import stages
from pgb_core.run.output import Output
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import locked
from pgb_core.threads import threads


def compress(config: CompressConfig, report: Report | None = None, shared: Shared | None = None) -> Artifact:
    """Plan, cut, recover, export. Raises PGBError.

    shared: with other runs of this process; by default with none, but for the cache that the settings name.

    What can be refused is refused before the work begins: the output's place, the checkpoint's tokenizer and tables,
    labels, and the dense model's own graph. After that every stage is kept beside the output until the artifact
    stands, whatever happens; the next run with the same output takes over the stages that fit it.
    """
    if config.sought:
        raise ConfigError("compress() makes one size; for max_drop and min_speedup use pgb_core.seek.seek()")
    report, shared = report or Report(), shared or Shared(cache_of(config))
    output = Output(config)
    with locked(Path(config.out), report.warn) as workspace:
        output.settle(workspace, report)
        with threads(output.threads) as used:
            run, method = Run.begin(config, report, workspace, shared), method_of(config)
            found = {**run.check_labels(), "text_parity": asdict(run.text_parity)}
            if run.vocabulary:
                found["vocabulary"] = run.vocabulary
            if output.begin(run, method.stages(run), used):
                return open_artifact(config.out)
            report.begin(stages(run, method.effort(run)))
            started = time.perf_counter()
            done = method.compress(run)
            metrics, accuracy = run.measure(done.model)
            stages_found = {stage.name: run.records.of(stage.digest) for stage in method.stages(run)}
            measured = {
                **found,
                **accuracy,
                **done.measured,
                "stages": {name: figures for name, figures in stages_found.items() if figures},
                "seconds": round(time.perf_counter() - started, 1),
            }
            report.stage("Exporting every form and holding it against the model")
            features, rows = run.compared()
            made = Made(
                checkpoint=run.checkpoint,
                model=done.model.cpu(),
                plan=done.plan,
                forms=config.forms,
                features=features,
                rows=rows,
                observed=run.observed,
                reference=metrics,
                judge=run.metrics,
                provenance={"settings": run.described()},
                measured=measured,
                threads=used,
            )
            artifact = write(config.out, made, output.ready)
            workspace.finish()
            return artifact


def cache_of(config: CompressConfig) -> Cache | None:
    """Where stages outlive a run, as the settings say."""
    if config.cache == "":
        return None
    return Cache(Path(config.cache) if config.cache else usual_place())
