"""The command `pgb`: it parses arguments, calls the library and prints. Heavy modules are imported inside commands."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pgb_core import __version__, machine
from pgb_core.artifact import TASKS, Artifact
from pgb_core.checkpoints.architectures import titles
from pgb_core.compare.config import CompareConfig
from pgb_core.config import CompressConfig, from_toml
from pgb_core.data.words import plain
from pgb_core.errors import PGBError
from pgb_core.options import FORMS, METHODS
from pgb_core.progress.report import Report

_LISTS = {"forms": "FORM,FORM", "methods": "METHOD,METHOD", "keep": "SHARE,SHARE"}
_COMPRESS_FLAGS = [name for name in CompressConfig.model_fields if name not in ("checkpoint", "options", "further")]
_CHOICES = {"task": TASKS, "method": tuple(METHODS)}

_EXAMPLES = """examples:
  pgb compress ./my-bert --task classification --train train.tsv --eval dev.tsv --out ./small
  pgb compress ./my-bert-qa --task qa --calibrate questions.json --keep 0.25 --out ./small-qa   # no labels needed
  pgb compare ./my-bert --train train.tsv --eval dev.tsv --out ./compared --quick   # compare methods and sizes
  pgb evaluate ./small --data dev.tsv
  pgb bench ./small --against ./my-bert
  pgb serve ./small ./small-qa
  pgb plan-capacity ./small --rate 2000 --lengths 32 --p99 50
"""
_COMPRESS_NOTES = """
Data files: GLUE .tsv, .csv, .json, .jsonl, .parquet, .txt (unlabelled), and SQuAD as .json or as rows. They may be
packed as .gz, .bz2, .xz, .zst or .zip. A hub dataset is written owner/name[:config][:split].
Columns and labels are recognised by common names, and the command says which it took. If two fit, it stops and asks you
to name one. docs/data.md has the rules.
First the dense model is evaluated on the labels. If model and labels contradict each other, the command stops.
Without --train, re-finetuning learns from the dense model alone, on the --calibrate texts.
Forms: {forms}. docs/runtimes.md explains them. gpu has not been run on a GPU yet.
With --keep 1 the dense model is exported unchanged, and no data is needed. q8bert, quant-noise and qbert train it
first.
Finished stages are kept beside --out until the artifact is complete. The same command continues from them.
Terms: the dense model is the checkpoint as it was given; to compensate is to solve the weights that are left, layer by
layer, so that the pruned model gives what the dense model gives; re-finetuning is the training after that.
docs/method.md explains pgb and the settings that all methods share, docs/methods.md the other methods, and
docs/glossary.md the terms.
""".replace("{forms}", ", ".join(FORMS))
_COMPARE_NOTES = """
A point is one method at one size. Each point is an artifact that can be served. --minutes is about the time for one
point; the whole comparison takes that time for each method, size and seed. Finished points are kept: the same command
continues from them, and with more --methods or sizes it makes only the new points.
The budget of a point is --minutes, --epochs or --steps; give one of them at most.
docs/methods.md explains the methods, docs/glossary.md the terms.
"""
_PUSH_NOTES = """
Needs the extra `hub`, and HF_TOKEN in the environment. Only the files that the manifest names are sent, and each is
checked against its hash first. `pgb serve hf://REPO` and `pgb_core.load("hf://REPO")` open the artifact.
"""
_SERVE_NOTES = """
All settings of the service are accepted too, such as --models-dir FOLDER (then ARTIFACT may be left out),
--keys-file FILE or --threads 2. `python -P -m service --help` lists all of them.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 on success, 1 on a PGBError, 130 when interrupted; wrong usage exits with 2."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["serve"] and not {"-h", "--help"} & set(given):
        serve(given[1:])  # the service knows its settings
        return 0
    if given[:1] == ["plan-capacity"]:
        _become("service.planning", given[1:])
        return 0
    args = _parser().parse_args(given)
    if argv is None:  # the process is ours, and torch is not imported yet
        machine.wait_passively()
        # The tokenizers have threads of their own.
        os.environ.setdefault("RAYON_NUM_THREADS", str(getattr(args, "threads", None) or machine.usable_cores()))
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except PGBError as error:
        shown = "\n".join(plain(line) for line in str(error).split("\n"))  # a file's name may hold anything
        print(f"pgb {args.command}: {shown}", file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        kept = (
            "; run the same command again to continue from the stages that are finished"
            if args.command == "compress"
            else ""
        )
        print(f"pgb {args.command}: stopped{kept}", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        print(f"pgb {args.command}: not enough memory; try smaller --samples or --tokens", file=sys.stderr)
    except OSError as error:
        print(f"pgb {args.command}: {error.strerror or error}: {error.filename or ''}", file=sys.stderr)
    except ImportError as error:
        print(f"pgb {args.command}: {error}; pip install '.[compress]' in a clone of pgb-serve", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgb",
        description=f"Shrink a fine-tuned {titles()}, check it against the original, and serve it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pgb-serve {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        p = commands.add_parser(
            name, help=command.help, epilog=command.epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.add(p)
        p.set_defaults(run=command.run)
    return parser


def _add_compress(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", nargs="?", help=CompressConfig.model_fields["checkpoint"].description)
    p.add_argument("--config", help="TOML file with the same settings; arguments win over the file")
    p.add_argument(
        "--forecast",
        action="store_true",
        help="print what each size is expected to score, in a range, and how long the rest takes; stop before training",
    )
    _add_settings(p, CompressConfig, _COMPRESS_FLAGS)
    _add_options(p)


def _add_evaluate(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", help="checkpoint or artifact")
    p.add_argument("--data", required=True, help="labelled rows")
    p.add_argument("--form", help="form of an artifact that is evaluated (default: its first form)")
    _add_settings(p, CompressConfig, ("task", "text_column", "pair_column", "label_column", "labels"))
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_options(p: argparse.ArgumentParser) -> None:
    """A flag for each option of the methods. Methods with an option of the same name share its flag."""
    names = dict.fromkeys(name for options in METHODS.values() for name in options.model_fields)
    owners = {name: [method for method, options in METHODS.items() if name in options.model_fields] for name in names}
    several = p.add_argument_group("options of more than one --method")
    for name in (name for name in names if len(owners[name]) > 1):
        every = [_flag(METHODS[method], name) for method in owners[name]]
        said = "; ".join(f"{method}: {how['help']}" for method, how in zip(owners[name], every, strict=True))
        # Values of another method are refused by the settings, which know the method.
        choices = list(dict.fromkeys(value for how in every for value in how.get("choices", ())))
        several.add_argument(_spelt(name), **{**every[0], "help": said, **({"choices": choices} if choices else {})})
    for method, options in METHODS.items():
        group = p.add_argument_group(f"--method {method}", options.summary)
        _add_settings(group, options, [name for name in options.model_fields if len(owners[name]) == 1])


def _add_settings(p: argparse._ActionsContainer, settings: type[BaseModel], names: Sequence[str]) -> None:
    """A flag for each of these settings."""
    for name in names:
        p.add_argument(_spelt(name), **_flag(settings, name))


def _flag(settings: type[BaseModel], name: str) -> dict[str, Any]:
    """What argparse is told of a setting, by its type, its description and its default."""
    field = settings.model_fields[name]
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not NoneType]
    usual = field.get_default()
    told = usual not in (None, (), False, PydanticUndefined)
    said = f"{field.description} (default {usual})" if told else str(field.description)
    how: dict[str, Any] = {"type": kinds[0]}
    if get_origin(field.annotation) is Literal or get_origin(kinds[0]) is Literal:
        how = {"choices": kinds if get_origin(field.annotation) is Literal else get_args(kinds[0])}
    elif name == "keep" and settings is CompressConfig:
        how = {"metavar": _LISTS[name]}  # a share, or several
    elif name in _CHOICES:
        how = {"choices": _CHOICES[name]}
    elif name in _LISTS and get_origin(field.annotation) is tuple:
        how = {"metavar": _LISTS[name]}
        said = str(field.description) if usual == tuple(METHODS) else f"{field.description} (default {_joined(usual)})"
    elif get_origin(field.annotation) is tuple:
        how = {"action": "append", "metavar": "NAME"}
    elif kinds[0] is bool:
        how = {"action": argparse.BooleanOptionalAction}
    return {"default": None, "help": said.replace("%", "%%"), **how}  # argparse formats help texts with %


def _joined(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def _spelt(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _add_compare(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", help=CompareConfig.model_fields["checkpoint"].description)
    _add_settings(p, CompareConfig, [name for name in CompareConfig.model_fields if name != "checkpoint"])


def _add_inspect(p: argparse.ArgumentParser) -> None:
    p.add_argument("artifact")
    p.add_argument("--html", help="write a picture of the structure to this HTML file")
    p.add_argument("--json", action="store_true", help="print the manifest as one JSON object")
    p.add_argument("--triton", action="store_true", help="print a config.pbtxt for Triton's ONNX Runtime backend")
    p.add_argument("--form", help="with --triton: form that Triton runs (default: the first form that is a graph)")


def _add_push(p: argparse.ArgumentParser) -> None:
    p.add_argument("artifact")
    p.add_argument("repo", help="OWNER/NAME on the hub; created if it does not exist")
    p.add_argument("--private", action="store_true", help="make the repository private")


def _add_bench(p: argparse.ArgumentParser) -> None:
    p.add_argument("artifact")
    p.add_argument("--against", metavar="CHECKPOINT", help="the dense model to compare with")
    p.add_argument("--shapes", default="1x32,1x128,8x128,1x384", help="batch x tokens, comma-separated")
    p.add_argument(
        "--threads", type=int, help="threads of each model (default: one for each core this process may use)"
    )
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device of all models (default cpu)")
    p.add_argument(
        "--seconds", type=float, default=3.0, help="time for each model and shape, in short turns (default 3)"
    )
    p.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _add_serve(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "artifacts", nargs="*", metavar="ARTIFACT", help="model to serve: PATH, NAME=PATH or hf://REPO[@REVISION]"
    )
    p.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    p.add_argument("--port", default="8000", help="port to listen on (default 8000)")


def _add_demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--dir", default=".demo", help="directory for its models (default .demo)")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=8000)
    p.add_argument(
        "--threads",
        type=int,
        help="threads to compress with (default: one for each core this process may use, or OMP_NUM_THREADS if less)",
    )
    p.add_argument("--no-serve", action="store_true", help="print the table and stop without serving")


def _compress(args: argparse.Namespace) -> int:
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


def _tell(done: Artifact) -> None:
    """The place of an artifact, its size, its forms and its metrics."""
    m = done.manifest
    print(f"{done.path}: {m.weights['kept'] / m.weights['dense']:.1%} of the encoder's weights kept")
    for name, record in m.forms.items():
        print(f"  form {name}: {_held(record.measured, bool(record.ran))}")
    for name, metrics in m.measured.get("accuracy", {}).items():
        if isinstance(metrics, dict) and name != "reasons":
            print(f"  {name}: " + ", ".join(f"{key} {_figure(value, '.4g')}" for key, value in metrics.items()))


def _compressed(settings: CompressConfig, bars: Report) -> list[Artifact]:
    from pgb_core.family import family
    from pgb_core.pipeline import compress

    return family(settings, bars) if settings.further else [compress(settings, bars)]


def _sought(settings: CompressConfig, bars: Report) -> Artifact:
    from pgb_core.seek import seek

    artifact, promise = seek(settings, bars)
    error = f", standard error {promise.error:.2f}" if promise.error is not None else ""
    speed = f"; {promise.speedup:.2f} times the fastest dense form" if promise.speedup is not None else ""
    print(
        f"keep {promise.keep:.0%}, found in {promise.runs} trainings: loses {promise.chosen:.2f} points on the rows "
        f"that chose the size, and {promise.confirmed:.2f} on {promise.rows} other rows{error}{speed}"
    )
    if not promise.holds:
        print(
            "on the rows that confirm, the model loses more than --max-drop allows; give more --eval rows, or a larger "
            "--keep"
        )
    return artifact


def _compare(args: argparse.Namespace) -> int:
    given = {k: v for k, v in vars(args).items() if k not in ("command", "run") and v is not None}
    settings = CompareConfig(**given)
    from rich.console import Console

    from pgb_core.compare import run
    from pgb_core.progress.bars import Bars

    with Bars(Console(stderr=True)) as bars:
        found = run.compare(settings, bars)
    print(run.table(found))
    print(f"{Path(settings.out) / run.REPORT}: the report with the picture")
    return 0


def _held(measured: Mapping[str, Any], ran: bool) -> str:
    """A sentence on how closely a form agrees with the model."""
    if not ran:
        return "not run yet: its engine or device is not available here"
    if "parity" in measured:
        return f"logits within {measured['parity']['max_difference']:.1e} on {measured['parity']['inputs']} inputs"
    if "equal_answers" not in measured:
        return "the PyTorch model itself"
    lost = f", loses {measured['drop']:.2f} points" if "drop" in measured else ""
    return f"{measured['equal_answers']:.1%} of the answers equal on {measured['inputs']} inputs{lost}"


def _evaluate(args: argparse.Namespace) -> int:
    from rich.console import Console

    from pgb_core.data import Columns
    from pgb_core.measure.scoring import score
    from pgb_core.progress.bars import Bars
    from pgb_core.run.reading import Options

    columns = Columns(args.text_column, args.pair_column, tuple(args.label_column or ()))
    told = Bars(Console(stderr=True))
    metrics = score(args.model, args.data, args.task, args.form, options=Options(columns, args.labels), report=told)
    for name, reason in metrics.reasons.items():
        told.warn(f"{name} is not defined: {reason}")
    if args.json:
        found = {"model": args.model, "data": args.data, "metrics": dict(metrics)}
        reasons = {"reasons": metrics.reasons} if metrics.reasons else {}
        print(json.dumps({**found, **reasons}, allow_nan=False))
    else:
        for name, value in metrics.items():
            print(f"{name:28} {_figure(value, '.4f')}")
    return 0


def _figure(value: float | None, form: str) -> str:
    return "not defined" if value is None else f"{value:{form}}"


def _inspect(args: argparse.Namespace) -> int:
    from pgb_core import artifact, inspect
    from pgb_core.plan import Plan, flops

    opened = artifact.open_artifact(args.artifact)
    plan = Plan.from_json(opened.plan.read_text("utf-8"))
    if args.html:
        Path(args.html).write_text(inspect.page(opened, plan), "utf-8")
        print(f"{args.html}: written")
        return 0
    if args.json:
        print(opened.manifest.to_json())
        return 0
    if args.triton:
        from pgb_core import triton

        print(triton.config(opened, args.form), end="")
        return 0
    print(f"{'matrix':22} {'shape':>11} {'groups':>6} {'block':>11} {'kept':>6} {'MFLOP@128':>10}")
    for index in range(plan.layers):
        for role, choice in plan.layer(index).items():
            groups, size = choice.described
            shape, block = (f"{rows}x{cols}" for rows, cols in (choice.shape, size))
            kept, flop = choice.cost / math.prod(choice.shape), 2 * 128 * choice.products
            print(f"{f'{index}.{role}':22} {shape:>11} {groups:>6} {block:>11} {kept:>6.1%} {flop / 1e6:>10.1f}")
    total = flops(plan, 128) / 1e6
    print(f"{'all':22} {'':>11} {'':>6} {'':>11} {plan.cost / plan.dense_cost:>6.1%} {total:>10.1f}")
    print(f"manifest sha256: {opened.digest}")
    if plan.stream is not None:
        print("the channels of the residual stream are reordered; matrices read the first of them")
    print("layers dropped: " + (", ".join(map(str, plan.dropped_layers)) or "none"))
    for line in inspect.stages(opened.manifest.measured):
        print(line)
    return 0


def _push(args: argparse.Namespace) -> int:
    from pgb_core import hub

    print(hub.push(args.artifact, args.repo, args.private))
    return 0


def _bench(args: argparse.Namespace) -> int:
    from pgb_core import artifact
    from pgb_core.errors import ConfigError
    from pgb_core.measure import comparison

    try:
        shapes = [(int(b), int(s)) for b, s in (part.split("x") for part in args.shapes.split(","))]
    except ValueError as error:
        raise ConfigError(f"--shapes {args.shapes!r}: write them as 1x128,8x128") from error
    if not shapes or min(min(shape) for shape in shapes) < 1:
        raise ConfigError(f"--shapes {args.shapes!r}: batch and tokens must be 1 or more")
    opened = artifact.open_artifact(args.artifact)
    found = comparison.compare(opened, args.against, shapes, args.seconds, args.threads, device=args.device)
    left_out = [f"{b}x{s}" for b, s in shapes if (b, s) not in found.shapes]
    if left_out:
        most = opened.manifest.max_length
        print(f"left out: {', '.join(left_out)}; the model takes {most} tokens at most", file=sys.stderr)
    if args.json:
        print(json.dumps(found.as_json(), allow_nan=False))
        return 0
    print(comparison.table(found))
    for name, reason in found.left_out.items():
        print(f"left out: {name} ({reason})")
    if found.busy:
        print(f"the machine was too busy for reliable times: {found.busy}; measure again when it is idle")
    return 0


def serve(arguments: Sequence[str]) -> None:
    """Replace this process by the inference service."""
    _become("service", arguments)


def _become(module: str, arguments: Sequence[str]) -> None:
    """Replace this process by a module. -P: one of that name in the current directory is not run."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def _demo(args: argparse.Namespace) -> int:
    from pgb_core import demo

    artifacts = demo.prepare(Path(args.dir), threads=args.threads)
    if not args.no_serve:
        demo.print_calls(args.host, args.port, artifacts[-1])
        serve([*map(str, artifacts), "--host", args.host, "--port", str(args.port)])
    return 0


@dataclass(frozen=True)
class _Command:
    help: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int] | None
    epilog: str | None = None


_COMMANDS = {
    "compress": _Command(
        "compress a fine-tuned checkpoint into a verified artifact", _add_compress, _compress, _COMPRESS_NOTES
    ),
    "compare": _Command("compare methods and sizes under one training budget", _add_compare, _compare, _COMPARE_NOTES),
    "evaluate": _Command("compute GLUE or SQuAD metrics of a checkpoint or an artifact", _add_evaluate, _evaluate),
    "inspect": _Command("show groups, share kept and FLOPs of every matrix of an artifact", _add_inspect, _inspect),
    "bench": _Command(
        "measure the latency of an artifact, and its ratio to the fastest dense graph", _add_bench, _bench
    ),
    "push": _Command("put an artifact on the Hugging Face hub", _add_push, _push, _PUSH_NOTES),
    "serve": _Command(
        "serve artifacts over HTTP (needs neither torch nor transformers)", _add_serve, None, _SERVE_NOTES
    ),
    "plan-capacity": _Command(
        "find how many replicas, and of which size, keep p99 latency within a bound", lambda p: None, None
    ),
    "demo": _Command("compress the built-in sentiment and QA models, compare them, and serve them", _add_demo, _demo),
}


if __name__ == "__main__":
    sys.exit(main())
