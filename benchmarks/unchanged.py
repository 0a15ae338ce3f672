"""Whether two versions of the code make the same plans and graphs, byte for byte, from the same small checkpoints.

    python -m benchmarks.unchanged record before.json      # in a checkout of the one version
    python -m benchmarks.unchanged record after.json       # in a checkout of the other
    python -m benchmarks.unchanged compare before.json after.json

Each recording makes random checkpoints of three architectures and two tasks with the installed transformers, and runs
`pgb compress` on them in every structure, with every form whose graph is exact, on one thread, re-finetuning included.
It knows the command line alone, so the same file runs in both checkouts: copy it where it is missing. What is compared:
the digests of the plan and of the graphs, and the logits that the artifact says must come of its check inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARCHITECTURES = ("bert", "roberta", "distilbert")
TASKS = ("classification", "qa")
FORMS = {"fp32": "model.onnx", "gpu": "model-gpu.onnx"}
TRAINED = ("--epochs", "2", "--tokens", "256", "--samples", "64")
STRUCTURES: dict[str, list[str]] = {
    "dense": ["--keep", "1"],
    "shared": ["--keep", "0.4", "--structure", "shared", "--passes", "2", *TRAINED],
    "disjoint": ["--keep", "0.5", "--structure", "disjoint", "--passes", "2", *TRAINED],
    "nested": ["--keep", "0.4", "--structure", "nested", *TRAINED],
}
TOLERANCE = 1e-6
WORDS = ("the a film was very good bad dull fine and not who sang where it began town song by sea " * 2).split()[:20]
_SIZES = {
    "bert": {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 384},
    "distilbert": {"dim": 96, "n_layers": 3, "n_heads": 6, "hidden_dim": 384},
}
_SIZES["roberta"] = _SIZES["bert"]


def main() -> int:
    """Record, or compare two recordings; 1 when they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    if args.what == "record":
        found = record()
        args.files[0].write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(f"{args.files[0]}: {len(found['runs'])} runs in {found['seconds']:.0f} s")
        return 0
    before, after = (json.loads(path.read_text("utf-8"))["runs"] for path in args.files)
    odd = list(differences(before, after))
    for line in odd:
        print(line)
    print(f"{len(before)} runs compared, {len(odd)} differences")
    return bool(odd)


def record() -> dict[str, Any]:
    """The facts of every run, by its name."""
    runs: dict[str, Any] = {}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pgb-unchanged-") as scratch:
        for architecture in ARCHITECTURES:
            for task in TASKS:
                folder = Path(scratch) / f"{architecture}-{task}"
                checkpoint(folder, architecture, task)
                data = rows(Path(scratch), task)
                for structure, flags in STRUCTURES.items():
                    out = Path(scratch) / f"{folder.name}-{structure}"
                    compress(folder, data, out, [*flags, "--forms", ",".join(FORMS)])
                    runs[out.name] = facts(out)
    return {"seconds": round(time.perf_counter() - began, 1), "runs": runs}


def compress(folder: Path, data: Path, out: Path, flags: list[str]) -> None:
    """One run of the command. Raises RuntimeError with what it said when it fails."""
    from pgb_core import cli

    common = ["--threads", "1", "--device", "cpu", "--trust-labels"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        learned = "--calibrate" if flags[:2] == STRUCTURES["dense"] else "--train"  # the dense model learns nothing
        status = cli.main(["compress", str(folder), learned, str(data), "--out", str(out), *common, *flags])
    if status:
        raise RuntimeError(f"{out.name}: pgb ended with {status}: {said.getvalue()[-2000:]}")


def facts(out: Path) -> dict[str, Any]:
    """Digests of plan and graphs, and the logits of the check inputs."""
    check = json.loads((out / "check.json").read_text("utf-8"))
    return {
        "plan": hashlib.sha256((out / "plan.json").read_bytes()).hexdigest(),
        **{form: hashlib.sha256((out / file).read_bytes()).hexdigest() for form, file in FORMS.items()},
        "tokenizer": hashlib.sha256((out / "tokenizer.json").read_bytes()).hexdigest(),
        "logits": [entry["logits"] for entry in check["inputs"]],
        "ids": [entry["ids"] for entry in check["inputs"]],
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """A line for every fact that is not the same, logits by more than 1e-6."""
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            yield f"{name}: only in one recording"
            continue
        one, other = before[name], after[name]
        yield from (
            f"{name}: another {part}" for part in ("plan", *FORMS, "tokenizer", "ids") if one[part] != other[part]
        )
        pairs = zip(_flat(one["logits"]), _flat(other["logits"]), strict=True)
        furthest = max(abs(a - b) for a, b in pairs)
        if furthest > TOLERANCE:
            yield f"{name}: logits differ by {furthest:.1e}"


def _flat(values: Any) -> Iterator[float]:
    if isinstance(values, list):
        for value in values:
            yield from _flat(value)
    else:
        yield values


def checkpoint(folder: Path, architecture: str, task: str) -> None:
    """A random checkpoint with a tokenizer of a few words."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    roberta = architecture == "roberta"
    special = ["<s>", "<pad>", "</s>", "[UNK]"] if roberta else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    first, last, pad = ("<s>", "</s>", "<pad>") if roberta else ("[CLS]", "[SEP]", "[PAD]")
    torch.manual_seed(2)
    kind = "SequenceClassification" if task == "classification" else "QuestionAnswering"
    sizes = {**_SIZES[architecture], "vocab_size": 40, "initializer_range": 0.2, "pad_token_id": special.index(pad)}
    config = transformers.AutoConfig.for_model(architecture, max_position_embeddings=80 + 2 * roberta, **sizes)
    getattr(transformers, f"AutoModelFor{kind}").from_config(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*special, *WORDS])}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    build = processors.RobertaProcessing if roberta else processors.BertProcessing
    tokenizer.post_processor = build((last, special.index(last)), (first, special.index(first)))
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"cls_token": first, "sep_token": last, "pad_token": pad, "unk_token": "[UNK]"}
    inputs = ["input_ids", "attention_mask", *(["token_type_ids"] if architecture == "bert" else [])]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


def rows(folder: Path, task: str) -> Path:
    """The same labelled rows each time."""
    draw = random.Random(7)  # noqa: S311 - rows of a test
    text = [" ".join(draw.choices(WORDS, k=draw.randint(3, 24))) for _ in range(120)]
    if task == "classification":
        path = folder / "rows.jsonl"
        lines = [json.dumps({"text": line, "label": n % 2}) for n, line in enumerate(text)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path
    path = folder / "questions.json"
    paragraphs = []
    for n, context in enumerate(text):
        answer = context.split(" ")[0]
        question = {"id": str(n), "question": "who sang", "answers": [{"text": answer, "answer_start": 0}]}
        paragraphs.append({"context": context, "qas": [question]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}), "utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
