"""`pgb compress`."""

from __future__ import annotations

import argparse
from os.path import expanduser

from pgb_core.artifact import Artifact
from pgb_core.commands.base import Command
from pgb_core.commands.figures import figure, held
from pgb_core.commands.flags import add_options, add_settings
from pgb_core.config import CompressConfig, from_toml
from pgb_core.data.words import counted
from pgb_core.options import FORMS
from pgb_core.progress.report import Report

_FLAGS = [name for name in CompressConfig.model_fields if name not in ("checkpoint", "options", "further")]
_NOTES = """
Terms: the dense model is the checkpoint as it was given. To score a weight is to estimate how much the loss would rise
without it. To compensate is to fit the weights that are left, layer by layer, so that the pruned model gives what the
dense model gives. Re-finetuning is the training after that. A form is one file of the artifact, for one runtime.
Data files: GLUE .tsv, .csv, .json, .jsonl, .parquet, .txt (unlabelled), and SQuAD as .json or as rows. They may be
packed as .gz, .bz2, .xz, .zst or .zip. A hub dataset is written owner/name[:config][:split].
Columns and labels are recognised by common names, and the command says which it took. If two fit, it stops and asks you
to name one. docs/data.md has the rules.
First the dense model is evaluated on the labels. If model and labels contradict each other, the command stops.
Without --train, re-finetuning learns from the dense model alone, on the --calibrate texts.
Forms: {forms}. docs/runtimes.md explains them.
With --keep 1 the dense model is exported unchanged, and no data is needed. q8bert, quant-noise and qbert train it
first.
Finished stages are kept beside --out until the artifact is complete. The same command continues from them.
docs/sizes.md explains sizes and settings, docs/method.md the method pgb, docs/methods.md the others, and
docs/glossary.md the terms.
""".replace("{forms}", ", ".join(FORMS))

_MISSED = {
    "max_drop": "on the rows that confirm, the model loses more than --max-drop allows; give more --eval rows, a "
    "smaller --max-drop, or a larger --keep in its place",
    "min_speedup": "the trained model is slower than --min-speedup asks for; give a larger --min-speedup, or a smaller "
    "--keep in its place",
}


def add(p: argparse.ArgumentParser) -> None:
    """Flags of every setting and every option."""
    p.add_argument("checkpoint", nargs="?", help=CompressConfig.model_fields["checkpoint"].description)
    p.add_argument("--config", type=expanduser, help="TOML file with the same settings; arguments win over the file")
    p.add_argument(
        "--forecast",
        action="store_true",
        help="print the range in which the score of each size is expected, and how long training takes; do not train",
    )
    add_settings(p, CompressConfig, _FLAGS)
    add_options(p)


def run(args: argparse.Namespace) -> int:
    """Make what the settings ask for, or forecast it."""
    left_out = ("command", "run", "config", "forecast")
    given = {k: v for k, v in vars(args).items() if k not in left_out and v is not None}
    settings = from_toml(args.config, **given) if args.config else CompressConfig(**given)
    from rich.console import Console

    from pgb_core.progress.bars import Bars

    if args.forecast:
        from pgb_core.pipeline import forecast

        with Bars(Console(stderr=True)) as bars:
            ahead = forecast(settings, bars)
        for one in ahead:
            print(one.said)
        return 0
    with Bars(Console(stderr=True)) as bars:
        done = [_sought(settings, bars)] if settings.sought else _compressed(settings, bars)
    for artifact in done:
        _tell(artifact)
    return 0


def _compressed(settings: CompressConfig, bars: Report) -> list[Artifact]:
    from pgb_core.family import family
    from pgb_core.pipeline import compress

    return family(settings, bars) if settings.further else [compress(settings, bars)]


def _sought(settings: CompressConfig, bars: Report) -> Artifact:
    from pgb_core.seek.run import seek

    artifact, promise = seek(settings, bars)
    error = f", where a score has a standard error of {promise.error:.2f}" if promise.error is not None else ""
    speed = f"; {promise.speedup:.2f} times the fastest dense form" if promise.speedup is not None else ""
    print(
        f"keep {promise.keep:.0%}, found in {counted(promise.runs, 'training')}: loses {promise.chosen:z.2f} points on "
        f"the rows that chose the size, and {promise.confirmed:z.2f} on {promise.rows} other rows{error}{speed}"
    )
    for name in promise.missed:
        print(_MISSED[name])
    if not promise.told:
        drop = promise.asked["max_drop"]
        points = "1 point" if drop == 1 else f"{drop:g} points"
        print(f"a loss of {points} is too small for {promise.rows} rows to tell reliably; give more --eval rows")
    return artifact


def _tell(done: Artifact) -> None:
    """The place of an artifact, its size, its forms and its metrics."""
    m = done.manifest
    print(f"{done.path}: {m.weights['kept'] / m.weights['dense']:.1%} of the encoder's weights kept")
    for name, record in m.forms.items():
        print(f"  form {name}: {held(record.measured, bool(record.ran))}")
    for name, metrics in m.measured.get("accuracy", {}).items():
        if isinstance(metrics, dict) and name != "reasons":
            print(f"  {name}: " + ", ".join(f"{key} {figure(value, '.4g')}" for key, value in metrics.items()))


COMMAND = Command("compress a fine-tuned checkpoint into a verified artifact", add, run, _NOTES)
