"""Shows what a plan kept, as a picture, and what the stages measured."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

from pgb_core.artifact import Artifact, telling
from pgb_core.plan import Choice, Pattern, Plan, Role, Site, flops

CELLS = 48
ORIGINAL = "All stand at their original places."
NESTED = (
    "All stand at their original places but the channels of the residual stream (columns of query, key, value and ffn "
    "in, rows of attention output and ffn out): these stand in the one order that the plan gives them in all layers, "
    "so that what a matrix reads are the first ones."
)


def page(artifact: Artifact, plan: Plan) -> str:
    """A self-contained HTML page: what was kept of each matrix, drawn at its place."""
    manifest = artifact.manifest
    share = plan.cost / plan.dense_cost
    saved = flops(plan, 128) / flops(plan, 128, dense=True)
    cells = "".join(
        f'<tr><th scope="row">{index}</th>'
        + "".join(f"<td>{_picture(Site(index, role), plan.choices[Site(index, role)])}</td>" for role in Role)
        + "</tr>"
        for index in range(plan.layers)
    )
    heads = "".join(f'<th scope="col">{role.value.replace("_", " ")}</th>' for role in Role)
    name = html.escape(manifest.name)
    places = ORIGINAL if plan.stream is None else NESTED
    fixed = "; ".join(f"layer {layer}: {_fixed(heads)}" for layer, heads in sorted(plan.patterns.items()))
    attention = f"<p>Heads whose attention is fixed, without query and key. {fixed}.</p>" if fixed else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: what was kept</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; --ink: #1f5fa8; --paper: #eef1f5; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #7db4f0; --paper: #23272e; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
table {{ border-collapse: collapse; }} th, td {{ padding: .3rem .5rem; text-align: center; vertical-align: bottom; }}
svg {{ background: var(--paper); display: block; margin: auto; }} path {{ fill: var(--ink); }}
small {{ opacity: .75; }}
</style></head><body>
<h1>{name}</h1>
<p>{html.escape(manifest.task)}, {html.escape(manifest.architecture)}: {plan.cost:,} of {plan.dense_cost:,} encoder
weights kept ({share:.1%}), {saved:.1%} of the FLOPs at 128 tokens. Each picture is one weight matrix, outputs downwards
and inputs to the right; the darker a cell, the more of it was kept. {places}</p>
<table><thead><tr><th scope="col">layer</th>{heads}</tr></thead><tbody>{cells}</tbody></table>
{attention}</body></html>
"""


def stages(measured: Mapping[str, Any]) -> list[str]:
    """What the stages measured, then the final metrics, in lines; each with its number of rows.

    measured: of a manifest. Raises ArtifactError that names a field.
    """
    with telling("measured.stages"):
        lines = [f"stage {name}: {_stage(found)}" for name, found in measured.get("stages", {}).items()]
    with telling("measured.stage_accuracy"):
        between = measured.get("stage_accuracy", {})
        for name, metrics in between.items():
            if name != "rows":
                lines.append(f"model {name}, on {between['rows']} rows: {_metrics(metrics)}")
    with telling("measured.accuracy"):
        final = measured.get("accuracy", {})
        lines += [
            f"final {name}, on {final['rows']} rows: {_metrics(final[name])}"
            for name in ("dense", "compressed")
            if final
        ]
    return lines


def _stage(found: Mapping[str, Any]) -> str:
    told = [f"{found['seconds']:.1f} s"] if "seconds" in found else []
    told += [f"{found['steps']:,} steps"] if "steps" in found else []
    told += [f"keeps {found['importance_kept']:.1%} of the importance"] if "importance_kept" in found else []
    return ", ".join(told)


def _metrics(found: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {'not defined' if value is None else f'{value:.4g}'}" for key, value in found.items())


def _fixed(heads: Mapping[int, Pattern]) -> str:
    """Which heads of a layer have which pattern."""
    found = {pattern: [head for head, one in sorted(heads.items()) if one is pattern] for pattern in Pattern}
    return ", ".join(f"{pattern} {' '.join(map(str, numbers))}" for pattern, numbers in found.items() if numbers)


def _picture(site: Site, choice: Choice) -> str:
    rows, cols = choice.shape
    height, width = (CELLS, CELLS * cols // rows) if rows <= cols else (CELLS * rows // cols, CELLS)
    width, height = min(width, 2 * CELLS), min(height, 2 * CELLS)
    blocks, _ = choice.described
    label = f"{site}: {choice.cost / (rows * cols):.0%} kept"
    body = "".join(
        f'<path fill-opacity="{level / 8:.3f}" d="{path}"/>' for level, path in _levels(choice, height, width)
    )
    return (
        f'<svg role="img" aria-label="{label}" width="{width * 2}" height="{height * 2}" '
        f'viewBox="0 0 {width} {height}"><title>{label}</title>{body}</svg>'
        f"<small>{choice.cost / (rows * cols):.0%}{f', {blocks} groups' if blocks > 1 else ''}</small>"
    )


def _levels(choice: Choice, height: int, width: int) -> Iterator[tuple[int, str]]:
    """(eighths kept, SVG path) for each shade."""
    grid = choice.density(height, width)
    if all(value == 1 for line in grid for value in line):
        yield 8, f"M0 0h{width}v{height}h-{width}z"
        return
    paths: dict[int, list[str]] = {}
    for y, line in enumerate(grid):
        for x, value in enumerate(line):
            level = min(8, round(8 * value))
            if level:
                paths.setdefault(level, []).append(f"M{x} {y}h1v1h-1z")
    for level, pieces in sorted(paths.items()):
        yield level, "".join(pieces)
