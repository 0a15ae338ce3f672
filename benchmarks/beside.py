"""How fast one artifact is beside another: each form of both in a process of its own, in turns, in one run.

    python -m benchmarks.beside default=one cheaper=other

The first one is what the second one is compared with.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import script
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts, usable_cores
from pgb_core.measure.bench import DEFAULT_SHAPES, SECONDS, Timed, time_in_turns


def main() -> None:
    """Time the forms that both artifacts have."""
    parser = script.parser(__doc__, "beside")
    parser.add_argument("artifacts", nargs=2, metavar="NAME=ARTIFACT")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each form and shape [%(default)s]")
    args = parser.parse_args()
    given = {name: Path(path) for name, _, path in (one.partition("=") for one in args.artifacts)}
    one, other = given
    made = {name: open_artifact(path).manifest for name, path in given.items()}
    forms = [form for form in made[one].forms if form in made[other].forms]
    models = {f"{name} {form}": Timed(path, form) for name, path in given.items() for form in forms}
    found = time_in_turns(models, DEFAULT_SHAPES, usable_cores(), args.seconds)
    rows = [
        {
            "batch": shape[0],
            "tokens": shape[1],
            "milliseconds": {name: round(timing.minimum(shape), 3) for name, timing in found.timings.items()},
            "speed": {
                form: {
                    "times": round(found.timings[f"{other} {form}"].ratio(found.timings[f"{one} {form}"], shape), 3),
                    "range": [
                        round(end, 3)
                        for end in found.timings[f"{other} {form}"].ratio_range(found.timings[f"{one} {form}"], shape)
                    ],
                }
                for form in forms
            },
        }
        for shape in DEFAULT_SHAPES
    ]
    settings = {name: manifest.provenance["settings"] for name, manifest in made.items()}
    results = {"of": one, "speed of": other, "rows": rows, "busy": found.busy, "settings": settings, "machine": facts()}
    script.write(args.out, results)


if __name__ == "__main__":
    main()
