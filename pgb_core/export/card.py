"""Writes the model card of an artifact from its manifest: what it is, what was measured, and how to call it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgb_core.artifact import CARD, GRAPH, Artifact, Manifest, open_artifact, telling, write_artifact
from pgb_core.checkpoints.architectures import ARCHITECTURES
from pgb_core.data.words import plain

_MOST_LABELS = 20
_TEXT, _QUESTION, _CONTEXT = "A warm, funny film.", "Who sang?", "In the evening the town sang."
_DATA = {"train": "training data", "calibrate": "calibration data", "eval": "evaluation data"}


@dataclass(frozen=True)
class Calls:
    """How a model of a task is called. python: the arguments. route, body: of the service. inputs: arguments of the
    tokenizer. auto: the end of Optimum's class.
    """

    python: str
    route: str
    body: Mapping[str, str]
    inputs: str
    auto: str


@dataclass(frozen=True)
class Shown:
    """What the card says of a task. pipeline: its name on the hub. does: what a model does. calls: None where neither
    the service nor `pgb_core.load` can be asked.
    """

    pipeline: str
    does: str
    calls: Calls | None = None


SHOWN = {
    "classification": Shown(
        "text-classification",
        "labels a text or a pair of texts",
        Calls(f'"{_TEXT}"', "classify", {"inputs": _TEXT}, f'"{_TEXT}"', "SequenceClassification"),
    ),
    "qa": Shown(
        "question-answering",
        "answers questions on a context",
        Calls(
            f'question="{_QUESTION}", context="{_CONTEXT}"',
            "answer",
            {"question": _QUESTION, "context": _CONTEXT},
            f'"{_QUESTION}", "{_CONTEXT}"',
            "QuestionAnswering",
        ),
    ),
}


def card(manifest: Manifest, sizes: Mapping[str, int]) -> bytes:
    """`README.md`, with the fields that the hub reads. sizes: bytes of the other files.

    It says nothing that two runs of the same command on one machine have otherwise, but speed where it was measured.
    Raises ArtifactError where a field of the manifest is not as `pgb compress` writes it.
    """
    with telling("ran or measured of a form"):
        forms = _forms(manifest, sizes)
    with telling("measured.speed"):
        speed = list(_speed(manifest.measured.get("speed")))
    parts = [
        _head(manifest),
        f"# {_told(manifest.name)}",
        _summary(manifest),
        _table(("", ""), _facts(manifest)),
        "## Forms",
        forms,
        *_accuracy(manifest),
        *_stage_accuracy(manifest.measured),
        *speed,
        *_calls(manifest),
        "## Settings",
        _block("json", json.dumps(manifest.provenance.get("settings", {}), indent=2)),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def measured_anew(
    path: str | Path,
    measured: Mapping[str, Any],
    out: str | Path | None = None,
    ready: Callable[[str], None] = lambda digest: None,
) -> Artifact:
    """Add figures to the manifest's `measured` and to the card, in one step. Raises ArtifactError, ResourceError.

    out: where the artifact is put that has them, and the one at `path` stays; by default it takes that one's place.
    ready: as `write_artifact` has it.
    """
    opened = open_artifact(path)
    manifest = replace(opened.manifest, measured={**opened.manifest.measured, **measured})
    files = {name: (opened.path / name).read_bytes() for name in manifest.files if name != CARD}
    files[CARD] = card(manifest, {name: len(content) for name, content in files.items()})
    return write_artifact(out or opened.path, replace(manifest, files={}), files, ready)


def _head(manifest: Manifest) -> str:
    tags = ["pgb-serve", "onnx", manifest.architecture]
    lines = ["library_name: pgb-serve", f"pipeline_tag: {SHOWN[manifest.task].pipeline}", f"tags: {json.dumps(tags)}"]
    return "\n".join(("---", *lines, "---"))


def _summary(manifest: Manifest) -> str:
    known = ARCHITECTURES.get(manifest.architecture)
    title = known.title if known else _told(manifest.architecture)
    kept = manifest.weights["kept"] / manifest.weights["dense"]
    how = f"with {kept:.0%} of its encoder's weights" if kept < 1 else "with all of its weights"
    version = _told(manifest.provenance.get("pgb_serve", ""))
    does = SHOWN[manifest.task].does
    return f"A {title} model that {does}, {how}. pgb-serve {version} made it from `{_source(manifest)}`."


def _facts(manifest: Manifest) -> Iterable[Sequence[str]]:
    with telling("measured.vocabulary"):
        tokens = manifest.measured.get("vocabulary", {}).get("tokens")
        vocabulary = f"{tokens['after']:,} of {tokens['before']:,} tokens" if tokens else ""
    with telling("measured.stages"):
        kept = manifest.measured.get("stages", {}).get("plan", {}).get("importance_kept")
        importance = "" if kept is None else f"{kept:.1%}"
    with telling("provenance.settings"):
        settings = manifest.provenance.get("settings", {})
        data = [(what, f"`{_told(settings[name])}`") for name, what in _DATA.items() if settings.get(name)]
    yield "task", manifest.task
    if manifest.labels:
        shown = ", ".join(f"`{_told(label)}`" for label in manifest.labels[:_MOST_LABELS])
        more = len(manifest.labels) - _MOST_LABELS
        yield "labels", shown + (f" and {more} more" if more > 0 else "")
        yield "scores by", manifest.activation
    yield "longest input", f"{manifest.max_length} tokens"
    yield "weights of the encoder", f"{manifest.weights['kept']:,} of {manifest.weights['dense']:,}"
    if vocabulary:
        yield "vocabulary", vocabulary
    if importance:
        yield "importance that the plan keeps", importance
    digest = _told(manifest.provenance.get("checkpoint_sha256", ""))
    yield "checkpoint", f"`{_source(manifest)}`, sha256 of its weights `{digest}`"
    yield from data


def _forms(manifest: Manifest, sizes: Mapping[str, int]) -> str:
    rows = []
    for name, record in manifest.forms.items():
        where = f"{', '.join(record.runtimes)} on {', '.join(record.devices)}"
        size = f"{sizes.get(record.file, 0) / 1e6:.1f} MB"
        rows.append((f"`{name}`", f"`{record.file}`", size, record.numbers, where, _held(record.measured)))
    ran = {f"{told['runtime']}, {told['processor']}" for told in (r.ran for r in manifest.forms.values()) if told}
    said = [f"Run on {_told(line)}." for line in sorted(ran)]
    return "\n\n".join((_table(("form", "file", "size", "numbers", "runs on", "beside the model"), rows), *said))


def _held(measured: Mapping[str, Any]) -> str:
    if "equal_answers" in measured:
        drop = round(measured.get("drop", 0.0), 2)
        lost = f", {abs(drop):.2f} points {'gained' if drop < 0 else 'lost'}" if "drop" in measured else ""
        return f"{measured['equal_answers']:.1%} of {measured['inputs']} answers the same{lost}"
    if "parity" in measured:
        return f"the same logits on {measured['parity']['inputs']} inputs"
    return ""


def _accuracy(manifest: Manifest) -> list[str]:
    with telling("measured.accuracy"):
        found = manifest.measured.get("accuracy")
        if not found:
            return []
        models = {"dense, PyTorch": found["dense"], "this model, PyTorch": found["compressed"]}
        models |= {
            f"`{name}`": record.measured["accuracy"]
            for name, record in manifest.forms.items()
            if "accuracy" in record.measured
        }
        return ["## Accuracy", f"On the {found['rows']} rows of the evaluation.", _metrics(models)]


def _stage_accuracy(measured: Mapping[str, Any]) -> list[str]:
    with telling("measured.stage_accuracy"):
        found = measured.get("stage_accuracy")
        if not found or not measured.get("accuracy"):
            return []
        models = {name: metrics for name, metrics in found.items() if name != "rows"}
        said = f"The model after each stage, in PyTorch, on {found['rows']} of these rows."
        return [said, _metrics(models)]


def _metrics(models: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a model. models: metrics by the model's title."""
    names = list(next(iter(models.values()), {}))
    rows = [[title, *(_figure(metrics.get(name)) for name in names)] for title, metrics in models.items()]
    return _table(("model", *names), rows)


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "not defined"


def _speed(speed: Mapping[str, Any] | None) -> Iterable[str]:
    if not speed:
        return
    machine = speed["machine"]
    names = list(speed["rows"][0]["milliseconds"])
    rows = [
        [f"{row['batch']} x {row['tokens']}", *(f"{row['milliseconds'][name]:.1f}" for name in names)]
        for row in speed["rows"]
    ]
    yield "## Speed"
    yield (
        f"Milliseconds of a batch x tokens, best of several turns, on {speed['threads']} threads of "
        f"{_told(machine['cpu'])} ({', '.join(machine['instruction_sets'])}), {machine['system']}."
    )
    yield _table(("shape", *names), rows)


def _calls(manifest: Manifest) -> Iterable[str]:
    path, calls, pipeline = f"./{manifest.name}", SHOWN[manifest.task].calls, SHOWN[manifest.task].pipeline
    if calls is None:
        return
    yield "## How it is called"
    yield "In Python, without PyTorch and without a server:"
    yield _block("python", f"import pgb_core\n\nmodel = pgb_core.load({_quoted(path)})\nprint(model({calls.python}))")
    yield f"As a service, `pgb serve {_told(shlex.quote(path))}`:"
    told = shlex.quote(json.dumps({**calls.body, "model": manifest.name}))
    yield _block("sh", f"curl -s localhost:8000/v1/{calls.route} -H 'content-type: application/json' -d {told}")
    graph = next((record.file for record in manifest.forms.values() if record.file.endswith(GRAPH)), None)
    if graph is None:
        return
    yield "With ONNX Runtime and the tokenizer of transformers:"
    yield _block(
        "python",
        "import onnxruntime\nfrom transformers import AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({_quoted(path)})\n"
        f"session = onnxruntime.InferenceSession({_quoted(f'{path}/{graph}')})\n"
        f'inputs = tokenizer({calls.inputs}, truncation=True, return_tensors="np")\n'
        "print(session.run(None, dict(inputs)))",
    )
    yield "With Optimum, where a version of transformers is installed that it takes:"
    yield _block(
        "python",
        f"from optimum.onnxruntime import ORTModelFor{calls.auto}\nfrom transformers import AutoTokenizer, pipeline\n\n"
        f"model = ORTModelFor{calls.auto}.from_pretrained({_quoted(path)}, file_name={_quoted(graph)})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({_quoted(path)})\n"
        f'ask = pipeline("{pipeline}", model=model, tokenizer=tokenizer)\nprint(ask({calls.python}))',
    )


def _quoted(text: str) -> str:
    """As Python writes it."""
    return json.dumps(text, ensure_ascii=False)


def _source(manifest: Manifest) -> str:
    return _told(manifest.provenance.get("checkpoint", "a checkpoint"))


def _told(value: object) -> str:
    """Text from elsewhere: printable, on one line, and nothing that Markdown reads as more than text."""
    return "".join("\N{PRIME}" if c in "`|<>[]" else c for c in plain(value))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _block(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"
