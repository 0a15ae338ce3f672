"""Uses what the worked examples of CONTRIBUTING.md add, in a copy of the code that has them. Prints JSON.

PYTHONPATH=COPY:ROOT python tests/contracts/worked.py FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import transformers
from fastapi.testclient import TestClient

import pgb_core
import service
from pgb_core.artifact import CARD, open_artifact
from pgb_core.inference.batches import prepare_texts, run_all
from pgb_core.measure.scoring import score
from pgb_core.pipeline import compress
from pgb_core.plan import Plan
from service.app import create_app
from service.settings import Settings
from tests.core.small import WORDS, checkpoint, settings


def labelled(folder: Path) -> dict[str, object]:
    """The method, the architecture and the form in one artifact, and the dialect that asks it."""
    model = checkpoint(folder / "model", "roberta", "classification")  # for its tokenizer
    shape = {"vocab_size": 40, "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6}
    more = {"intermediate_size": 384, "max_position_embeddings": 66, "pad_token_id": 1, "initializer_range": 0.2}
    config = transformers.Data2VecTextConfig(**shape, **more)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(model)
    rows = folder / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"text": f"the {a} was good", "label": n % 2}) + "\n" for n, a in enumerate(WORDS))
    )
    asked = settings(model, folder / "small", rows, method="first-layers", keep=0.5, forms=("fp32", "half-weights"))
    made = compress(asked)
    found = {
        "architecture": made.manifest.architecture,
        "dropped": Plan.from_json(made.plan.read_text()).dropped_layers,
        "bytes": {form: made.graph(form).stat().st_size for form in made.manifest.forms},
    }
    for form in made.manifest.forms:
        with pgb_core.load(made.path, form) as loaded:
            found[form] = {each["label"]: each["score"] for each in loaded("the film was dull")}
    with TestClient(create_app(Settings(artifacts=(str(made.path),), form="fp32", threads=1))) as client:
        found["best"] = client.post("/best/small", json={"text": "the film was dull"}).json()
        found["refused"] = client.post("/best/other", json={"text": "the film was dull"}).json()
    return found


def alike(folder: Path) -> dict[str, object]:
    """The task."""
    model = checkpoint(folder / "alike-model", "bert", "classification", num_labels=1, problem_type="regression")
    rows = folder / "pairs.jsonl"
    pairs = [(f"the {a} was good", f"a {b} sang") for a in WORDS for b in WORDS[:2]]
    lines = [{"sentence1": a, "sentence2": b, "label": n / 10} for n, (a, b) in enumerate(pairs)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = compress(settings(model, folder / "alike", rows, task="similarity", keep=0.5, eval=str(rows)))
    with pgb_core.load(made.path) as loaded:
        logits = run_all(loaded.runtime.run, prepare_texts(loaded.tokenizer, pairs[:2]))
    manifest = open_artifact(made.path).manifest
    return {
        "task": manifest.task,
        "recorded": manifest.measured["accuracy"]["compressed"],
        "evaluated": score(made.path, rows),
        "shapes": [list(each.shape) for each in logits],
        "card": (made.path / CARD).read_text(),
        "called": _error(lambda: pgb_core.load(made.path)("the film", "a film")),
    }


def _error(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return ""


if __name__ == "__main__":
    place = Path(sys.argv[1])
    copies = [str(module.__file__) for module in (pgb_core, service)]
    print(json.dumps({"copies": copies, "labelled": labelled(place), "alike": alike(place)}))
