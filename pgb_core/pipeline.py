"""The method, from a checkpoint to an artifact."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pgb_core.artifact import Artifact, open_artifact, repair
from pgb_core.config import CompressConfig
from pgb_core.data.words import plain
from pgb_core.errors import ResourceError
from pgb_core.export import write
from pgb_core.export.parity import inputs_of
from pgb_core.gate import load_checked
from pgb_core.machine import usable_cores
from pgb_core.model import surgery
from pgb_core.progress.report import Report, Silent
from pgb_core.run import effort, output
from pgb_core.run.inputs import check_labels, prepare
from pgb_core.run.run import Keys, Run
from pgb_core.run.workspace import Workspace, check_space, key_of, locked
from pgb_core.threads import threads


def compress(config: CompressConfig, report: Report | None = None) -> Artifact:
    """Score, plan, cut, compensate, re-finetune, export. Raises PGBError.

    What can be refused is refused before the work begins: the output's place, the checkpoint's tokenizer and tables,
    labels, and the dense model's own graph. After that every stage is kept beside the output until the artifact
    stands, whatever happens; the next run with the same output takes over the stages that fit it.
    """
    report = report or Silent()
    output.check_place(config.out, config.checkpoint)
    device = pick_device(config.device)
    out = Path(config.out)
    with locked(out, report.warn) as workspace:
        mended = repair(out)
        if mended:
            report.warn(mended)
        kept = workspace.run()
        before = output.standing(out)
        forced = config.force or (bool(config.resume) and kept.get("force") is True)
        # A run that ended after its artifact was in place and before it could say so.
        written = config.resume is not False and before.digest is not None and kept.get("published") == before.digest
        if not written:
            output.check_standing(out, before, forced)
        with threads(config.threads or _threads_of(kept, config)) as used:
            run, settings, found = _begin(config, report, workspace, device, used)
            if written and kept.get("asked") == settings["asked"]:
                report.note(f"{out}: the stopped run had just written it")
                workspace.finish()
                return open_artifact(out)
            output.check_standing(out, before, forced)
            check_space(workspace.path, run.bytes_needed)
            run.take_over(kept, settings)
            return _work(run, settings, found, before)


def _begin(
    config: CompressConfig, report: Report, workspace: Workspace, device: torch.device, used: int
) -> tuple[Run, dict[str, object], dict[str, object]]:
    """Read and check everything; the run, what the next one is told of it, and what was found for the manifest."""
    report.stage("Loading the checkpoint and checking it against transformers")
    checkpoint, parity = load_checked(config.checkpoint, config.task, report)
    report.stage("Reading the data")
    inputs = prepare(config, checkpoint, report)
    found = check_labels(config, checkpoint, inputs, device, report)
    keys = Keys.of(config, checkpoint, inputs)
    run = Run(config, checkpoint, inputs, keys, workspace, report, device)
    scored = [repr(row) for row in inputs.held_out.rows] if inputs.held_out else []
    settings: dict[str, object] = {
        "digest": keys.finetuned,
        "asked": key_of(keys.finetuned, config.weights, config.target, scored),
        "force": config.force,
        "threads": used,
    }
    return run, settings, {**found, "text_parity": asdict(parity)}


def _work(run: Run, settings: Mapping[str, object], found: Mapping[str, object], before: output.Standing) -> Artifact:
    config, checkpoint, inputs, report = run.config, run.checkpoint, run.inputs, run.report
    held_out = inputs.held_out.rows if inputs.held_out else []
    report.begin(effort.stages(config, inputs.calibration, inputs.training, held_out))
    dense = checkpoint.model.to(run.device)
    started = time.perf_counter()
    plan = run.plan(dense)
    compact = surgery.apply_plan(dense.cpu(), plan).to(run.device).eval()
    dense.to(run.device)
    if config.keep < 1:
        run.compensate(dense, compact, plan)
        run.finetune(dense, compact)
    measured = {**found, **run.measure(dense, compact), "seconds": round(time.perf_counter() - started, 1)}
    report.stage("Exporting and checking parity")

    def ready(digest: str) -> None:
        output.check_unchanged(config.out, before)
        run.workspace.save_run({**settings, "published": digest})

    done = write.write(
        config.out,
        checkpoint,
        compact.cpu(),
        plan,
        config.target,
        [*inputs_of(checkpoint.probes, checkpoint.reading, checkpoint.task), *(inputs.calibration or inputs.training)],
        {"settings": _settings(config)},
        measured,
        max_length=checkpoint.max_length,
        weights=config.weights,
        ready=ready,
    )
    run.workspace.finish()
    return done


def pick_device(name: str) -> torch.device:
    """'auto' is CUDA where there is one. Raises ResourceError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device cuda: PyTorch sees no CUDA device here; use --device cpu")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def _threads_of(kept: Mapping[str, Any], config: CompressConfig) -> int | None:
    """As many threads as the stopped run had, if there are so many cores and its stages may be taken over."""
    found = kept.get("threads")
    fits = isinstance(found, int) and 0 < found <= usable_cores() and config.resume is not False
    return found if fits else None


def _settings(config: CompressConfig) -> dict[str, object]:
    """What a reader needs to make the artifact again; paths by their last part only."""
    shown = asdict(config)
    for name in ("checkpoint", "train", "calibrate", "eval"):
        if shown[name]:
            shown[name] = plain(str(shown[name]).rstrip("/").rpartition("/")[2])
    for name in ("out", "resume", "force", "device", "threads"):
        del shown[name]
    return shown
