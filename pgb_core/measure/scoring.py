"""Computes the metrics of a checkpoint or of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pgb_core.artifact import MANIFEST, artifacts_in, open_artifact
from pgb_core.data import check_there
from pgb_core.data.problems import Problem
from pgb_core.errors import ArtifactError, ConfigError
from pgb_core.gate import load_checked
from pgb_core.hub import PREFIX, located
from pgb_core.inference.batches import Predict, run_all
from pgb_core.inference.load import Loaded, load
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokens import Tokens
from pgb_core.model.predict import torch_predictor
from pgb_core.progress.report import Report
from pgb_core.run.reading import EVALUATION, Options, Trial, read
from pgb_core.tasks import TASKS, Subject
from pgb_core.tasks.metrics import Metrics
from pgb_core.threads import threads

_PLAIN = Options()
# What a head is for by its activation, where the manifest's provenance, which people shorten, does not say it.
_PROBLEMS = {"none": Problem.REGRESSION, "sigmoid": Problem.MULTI_LABEL}


def score(
    source: str | Path,
    data: str | Path,
    task: str | None = None,
    form: str | None = None,
    options: Options = _PLAIN,
    report: Report | None = None,
) -> Metrics:
    """Official metrics on labelled rows: of a checkpoint in PyTorch, of an artifact in the runtime of the form.

    Both read and answer as the service does by default. form: of an artifact, the first that it carries by default.
    options: how the file is read. report: who is told what was read and how far the work is. source: a checkpoint, an
    artifact, or the hub's address of one (hf://OWNER/NAME). Raises PGBError.
    """
    check_there(data)
    report = report or Report()
    source = located(source) if str(source).startswith(PREFIX) else source
    with threads() as count:
        if (Path(source) / MANIFEST).is_file() or artifacts_in(Path(source)):
            report.stage("Loading the artifact and checking it")
            chosen = form or next(iter(open_artifact(source).manifest.forms))
            with load(source, chosen, threads=count) as loaded:
                if task not in (None, loaded.manifest.task):
                    raise ConfigError(
                        f"--task {task}: {source} is an artifact for {loaded.manifest.task}; leave --task out"
                    )
                return _scored(_of_artifact(loaded, report), data, options)
        if form is not None:
            raise ConfigError(f"--form {form}: {source} is a checkpoint, and only an artifact has forms")
        report.stage("Loading the checkpoint and checking it against transformers")
        checkpoint, _ = load_checked(source, task, report)
        predict = torch_predictor(checkpoint.model)
        return _scored(Trial(checkpoint.subject, checkpoint.served_tokenizer, predict, report), data, options)


def _of_artifact(loaded: Loaded, report: Report) -> Trial:
    manifest = loaded.manifest
    problem = manifest.provenance.get("problem_type", _PROBLEMS.get(manifest.activation))
    subject = Subject(TASKS[manifest.task], manifest.labels, problem, loaded.tokenizer.side)
    return Trial(subject, loaded.tokenizer, _told(loaded), report)


def _scored(model: Trial, data: str | Path, options: Options) -> Metrics:
    tell, task = model.tell, model.subject.task
    tell.stage("Reading the data")
    found = read(str(data), model.subject, options, tell, "validation", EVALUATION)
    model.check(None, found)
    # A question may have several windows, and progress is told in windows.
    tell.stage("Scoring the model", None if task.windows else len(found.rows))
    metrics = task.score(found, model.subject, model.tokenizer, partial(run_all, model.predict, progress=tell.advance))
    tell.end()
    return metrics


def _told(loaded: Loaded) -> Predict:
    """The artifact's runtime, whose errors say what to do."""

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        try:
            return loaded.runtime.run(batch)
        except Exception as error:  # every runtime raises its own
            raise ArtifactError(
                f"{loaded.manifest.name}: the graph fails on an input of {max(map(len, batch))} tokens; "
                "make the artifact again"
            ) from error

    return predict
