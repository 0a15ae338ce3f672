"""What the parts of a model take to run in a form, in weights of that form's own dense products.

Pruned 2-layer encoders of BERT-base's width, of many sizes, are timed at 1 x 128; the prices are the non-negative least
squares that explain their times best. ONNX Runtime tells what each operator took, so the parts are fitted kind by kind
of operator; OpenVINO's models are timed whole, in turns, and all parts are fitted together. The prices are written to
`pgb_core/prices/FORM.json`, with the machine's instruction sets; the planner reads them from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from benchmarks.encoder_speed import breakdown
from benchmarks.random_models import BASE, artifact_of
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts, usable_cores
from pgb_core.measure import bench
from pgb_core.measure.bench import Timed
from pgb_core.model import surgery
from pgb_core.model.encoder import Encoder
from pgb_core.plan import Choice, Group, Grouping, Plan, Role, Site, nothing
from pgb_core.prices import FOLDER, table_of

SHAPE = (1, 128)
CONFIG = replace(BASE, layers=2)
# What a price is of, in the order of the table's columns.
PARTS = ("weights", "operator", "block", "gathered_row", "sliced_row", "read", "norm", "transposes", "neuron", "mixed")


# Operators of ONNX Runtime's graphs, and the parts that they are the time of.
PRODUCTS = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "Conv", "MatMul")
KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (PRODUCTS, ("weights", "block", "read")),
    (("MultiHeadAttention", "FusedMatMul", "Softmax", "Pad", "Split"), ("mixed",)),
    (("Gelu", "BiasGelu", "Div", "QuantizeLinear", "ReduceMax"), ("neuron",)),
    (("LayerNormalization", "Sub", "Add", "Mul"), ("norm",)),
    (("Transpose",), ("transposes",)),
    (("Gather",), ("gathered_row",)),
    (("Slice",), ("sliced_row",)),
)


def plans(count: int, seed: int) -> Iterator[Plan]:
    """Of all sizes: prefixes of the stream, gathers from it, groups, dropped sublayers."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        choices: dict[Site, Choice] = {}
        kind = rng.choice(["prefix", "prefix", "gather", "groups"])
        for layer in range(CONFIG.layers):
            choices |= _attention(layer, rng, str(kind)) if rng.random() < 0.65 else _dropped(layer, attention=True)
            choices |= _feed_forward(layer, rng, str(kind)) if rng.random() < 0.65 else _dropped(layer, attention=False)
        yield Plan("random", CONFIG.head_dim, choices)


def _columns(rng: np.random.Generator, kind: str, size: int) -> tuple[int, ...]:
    count = 64 * int(rng.integers(1, size // 64 + 1))
    return tuple(range(count)) if kind == "prefix" else tuple(sorted(rng.permutation(size)[:count].tolist()))


def _attention(layer: int, rng: np.random.Generator, kind: str) -> dict[Site, Choice]:
    hidden, d = CONFIG.hidden, CONFIG.head_dim
    heads = int(rng.choice([2, 4, 6, 8, 10, 12]))
    scored, mixed = (int(rng.choice([16, 32, 48, 64])) for _ in range(2))
    square = (hidden, hidden)
    rows = {
        role: tuple(d * head + n for head in range(heads) for n in range(width))
        for role, width in ((Role.QUERY, scored), (Role.KEY, scored), (Role.VALUE, mixed))
    }
    read = _columns(rng, kind, hidden)
    found: dict[Site, Choice] = {}
    for role in (Role.QUERY, Role.KEY, Role.VALUE):
        found[Site(layer, role)] = Grouping(_groups(rows[role], read, rng, kind, hidden), square)
    found[Site(layer, Role.ATTENTION_OUTPUT)] = Grouping((Group(tuple(range(hidden)), rows[Role.VALUE]),), square)
    return found


def _groups(
    rows: tuple[int, ...], read: tuple[int, ...], rng: np.random.Generator, kind: str, size: int
) -> tuple[Group, ...]:
    if kind != "groups":
        return (Group(rows, read),)
    half = len(rows) // 2
    other = tuple(sorted(rng.permutation(size)[: len(read)].tolist()))
    return (Group(rows[:half], read), Group(rows[half:], other))


def _feed_forward(layer: int, rng: np.random.Generator, kind: str) -> dict[Site, Choice]:
    hidden, ffn = CONFIG.hidden, CONFIG.ffn
    neurons = tuple(range(64 * int(rng.integers(3, ffn // 64 + 1))))
    read = _columns(rng, kind, hidden)
    every = tuple(range(hidden))
    return {
        Site(layer, Role.FFN_IN): Grouping(_groups(neurons, read, rng, kind, hidden), (ffn, hidden)),
        Site(layer, Role.FFN_OUT): Grouping((Group(every, neurons),), (hidden, ffn)),
    }


def _dropped(layer: int, attention: bool) -> dict[Site, Choice]:
    hidden, ffn = CONFIG.hidden, CONFIG.ffn
    if attention:
        roles = (Role.QUERY, Role.KEY, Role.VALUE, Role.ATTENTION_OUTPUT)
        return {Site(layer, role): nothing((hidden, hidden)) for role in roles}
    return {Site(layer, Role.FFN_IN): nothing((ffn, hidden)), Site(layer, Role.FFN_OUT): nothing((hidden, ffn))}


def counts(plan: Plan) -> dict[str, float]:
    """How much of each part a plan has, as `pgb_core.search.prices` counts it."""
    found = dict.fromkeys(PARTS, 0.0)
    hidden = CONFIG.hidden
    for layer in range(CONFIG.layers):
        choices = plan.layer(layer)
        for role, choice in choices.items():
            groups, (_, cols) = choice.described
            if not groups:
                continue
            found["weights"] += choice.cost
            found["operator"] += 1
            found["block"] += groups
            found["read"] += groups * cols
            if role not in (Role.ATTENTION_OUTPUT, Role.FFN_OUT) and (groups > 1 or cols < hidden):
                prefix = isinstance(choice, Grouping) and choice.groups[0].cols == tuple(range(cols)) and groups == 1
                found["sliced_row" if prefix else "gathered_row"] += groups * cols
        heads = len({row // CONFIG.head_dim for row in choices[Role.VALUE].rows})
        if heads:
            channels = len(choices[Role.QUERY].rows) + len(choices[Role.VALUE].rows)
            found["norm"] += hidden
            found["transposes"] += hidden
            found["mixed"] += channels * SHAPE[1]
        if choices[Role.FFN_OUT].cost:
            found["norm"] += hidden
            found["neuron"] += len(choices[Role.FFN_IN].rows)
    return found


def by_operator(table: np.ndarray, spent: list[dict[str, float]]) -> tuple[dict[str, float], float]:
    """Milliseconds of one of each part, from milliseconds by operator; and the middle of the relative errors."""
    found, errors = dict.fromkeys(PARTS, 0.0), []
    for operators, parts in KINDS:
        times = np.array([sum(one.get(name, 0.0) for name in operators) for one in spent])
        columns = table[:, [PARTS.index(part) for part in parts]]
        scale = np.maximum(columns.max(0), 1e-9)
        values, _ = nnls(columns / scale, times)
        found |= dict(zip(parts, (values / scale).tolist(), strict=True))
        errors.append(columns @ (values / scale))
    whole = np.array([sum(sum(one.get(name, 0.0) for name in operators) for operators, _ in KINDS) for one in spent])
    return found, float(np.median(np.abs(sum(errors) / np.maximum(whole, 1e-9) - 1)))


def fitted(table: np.ndarray, times: np.ndarray) -> tuple[dict[str, float], float]:
    """Milliseconds of one of each part, and of what every model has; and the middle of the relative errors."""
    wide = np.concatenate([table, np.ones((len(table), 1))], axis=1)
    scale = np.maximum(wide.max(0), 1e-9)
    found, _ = nnls(wide / scale / times[:, None], np.ones(len(times)))
    error = float(np.median(np.abs(wide @ (found / scale) / times - 1)))
    return dict(zip((*PARTS, "constant"), (found / scale).tolist(), strict=True)), error


def priced(form: str, dense: Encoder, every: Sequence[Plan], args: argparse.Namespace) -> dict[str, Any]:
    """The prices of the parts of a model in a form, fitted to the times of models with these plans."""
    table = np.array([list(counts(plan).values()) for plan in every])
    with tempfile.TemporaryDirectory() as folder:
        models = {
            str(n): Timed(
                artifact_of(surgery.apply_plan(dense, plan).eval(), plan, [form], Path(folder) / str(n)).path, form
            )
            for n, plan in enumerate(every)
        }
        if form.startswith("openvino"):
            measured = bench.time_in_turns(models, [SHAPE], args.threads, args.seconds)
            busy = measured.busy
            times = np.array([timing.minimum(SHAPE) for timing in measured.timings.values()])
            found, error = fitted(table, times)
        else:
            busy = None
            graphs = [open_artifact(model.path).graph(form) for model in models.values()]
            spent = [breakdown(graph, SHAPE, args.threads, 40, least=0.0) for graph in graphs]
            found, error = by_operator(table, spent)
    unit = found["weights"]
    prices = {part: round(found[part] / unit, 4) for part in PARTS if part != "weights"}
    return {
        "machine": facts(),
        "threads": args.threads,
        "script": "benchmarks/prices.py",
        "milliseconds of a million weights": round(1e6 * unit, 4),
        "middle relative error of the fit": round(error, 4),
        "busy": busy,
        "weight": table_of(form).weight,  # chosen by what models with such plans lose, not measured here
        "prices": {"tokens": SHAPE[1], **prices},
    }


def main() -> None:
    """Time, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=["fp32", "int8", "openvino", "openvino-int8"])
    parser.add_argument("--plans", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=0.7, help="of each model, in short turns")
    parser.add_argument("--threads", type=int, default=usable_cores())
    args = parser.parse_args()
    torch.manual_seed(0)
    dense = Encoder(CONFIG).eval()
    every = list(plans(args.plans, 0))
    for form in args.forms:
        result = priced(form, dense, every, args)
        print(form, json.dumps(result, indent=1), flush=True)
        (FOLDER / f"{form}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
