"""What goes with the tokens that no text uses, and what that does to texts from elsewhere; and a table of low rank.

Two real checkpoints are trimmed to the texts of their data, as `pgb compress --vocabulary used` does it: SST-2's
training and dev sets, and questions to learn from with a part of SQuAD's dev set. `wide` keeps the tokens of other
English texts too. For each: the file of every form before and after, and the texts that were compared. Then

- held out: the dev set with the tokens of the other texts alone, so that its own count as new;
- elsewhere: texts of another kind (banking77, MRPC), which no vocabulary was made for. A model that answers is asked
  the first text of a pair about the second.

Of both: the share of texts with other pieces, the share of answers that are the same, and by how much logits move; of a
model that answers, by how much the score of "no answer" moves, less that of the best answer. The last part puts a table
of low rank, weighted by how often its tokens occur, beside whole numbers of 8 bits. A part that the results have is not
measured again.

    python -m benchmarks.vocabulary
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from benchmarks import script
from pgb_core.checkpoints.load import Checkpoint, load_checkpoint
from pgb_core.checkpoints.trim import trimmed
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow, Row, TextRow, read_data
from pgb_core.export.forms import FORMS
from pgb_core.export.write import built
from pgb_core.inference.batches import prepare_texts, run_all
from pgb_core.machine import facts
from pgb_core.model.predict import torch_predictor
from pgb_core.model.quantise import rounded
from pgb_core.progress.bars import Bars
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace
from pgb_core.tasks.qa import answered
from pgb_core.tasks.squad import squad_metrics

Array = NDArray[np.float64]
MOST = {"texts": 1000, "questions": 100}  # of a set, that models answer
RANKS = (128, 192, 256)
CALIBRATION = 512
SHIFT = 0.5  # of every count, so that a token that was not seen counts too


@dataclass(frozen=True)
class Case:
    """A checkpoint with its data. wide: a file whose texts' tokens are kept, too."""

    model: str
    train: str
    dev: str
    wide: str | None = None


CASES = {
    "sst2": Case("minilm-l6-sst2", "glue/sst2/train.tsv", "glue/sst2/dev.tsv"),
    "sst2, wide": Case("minilm-l6-sst2", "glue/sst2/train.tsv", "glue/sst2/dev.tsv", "glue/qnli/dev.tsv"),
    "qa": Case("minilm-l6-qa", "squad/squadshifts-new_wiki_v1.0.json", "squad/squad-dev-v1.1-half.json"),
}
ELSEWHERE = {"banking77": "banking77/test.csv", "MRPC": "glue/mrpc/dev.tsv"}


def main() -> None:
    """Every case, then the tables of low rank."""
    parser = script.parser(__doc__, "vocabulary", "models", "data")
    args = parser.parse_args()
    result: dict[str, Any] = {"machine": facts(), "torch": torch.__version__, "cases": {}}
    if args.out.exists():
        result |= json.loads(args.out.read_text("utf-8"))
    shared = Shared()
    for name, case in CASES.items():
        if name not in result["cases"]:
            result["cases"][name] = measured(case, args.models, args.data, shared)
            script.write(args.out, result)
    if "low rank" not in result:
        case = CASES["sst2"]
        result["low rank"] = low_rank(args.models / case.model, args.data / case.train)
        script.write(args.out, result)
    print(json.dumps(result, indent=1))


def measured(case: Case, models: Path, data: Path, shared: Shared) -> dict[str, Any]:
    """One case, by the job's own code up to where the work would begin."""
    settings = {"train": str(data / case.train), "eval": str(data / case.dev), "keep": 1.0, "vocabulary": "used"}
    if case.wide:
        settings["vocabulary_text"] = str(data / case.wide)
    with tempfile.TemporaryDirectory() as folder, Bars(Console(stderr=True)) as bars:
        config = CompressConfig(checkpoint=str(models / case.model), out=folder + "/out", cache="", **settings)
        run = Run.begin(config, bars, Workspace(Path(folder) / "work"), shared)
    whole, small = loaded(models / case.model), run.checkpoint
    learned = [row for source in run.inputs.sources for row in source.rows]
    learned += read_data(data / case.wide, "texts").rows if case.wide else []
    held_out = run.inputs.held_out.rows if run.inputs.held_out else ()
    alone = trimmed(whole, ids_of(whole, learned))
    made = partial(questions, whole.task.windows)
    return {
        **run.vocabulary,
        "files": {"before": sizes(whole), "after": sizes(small)},
        "held out": changed(whole, alone, list(held_out)),
        "elsewhere": {
            name: changed(whole, small, made(read_data(data / path, "texts").rows)) for name, path in ELSEWHERE.items()
        },
    }


@lru_cache
def loaded(folder: Path) -> Checkpoint:
    """A checkpoint with all of its tokens."""
    return load_checkpoint(folder)


def sizes(checkpoint: Checkpoint) -> dict[str, float]:
    """Megabytes of the file of every form of the dense model, and of the tokenizer."""
    found = {name: len(built(form, checkpoint.model, {})[1]) for name, form in FORMS.items()}
    found["tokenizer"] = len(checkpoint.reading.file())
    return {name: round(size / 1e6, 2) for name, size in found.items()}


def questions(windows: bool, rows: Sequence[Row]) -> list[Row]:
    """Texts and pairs as a model takes them: a model that answers is asked the first text about the second."""
    texts = [row for row in rows if isinstance(row, TextRow)]
    if not windows:
        return list(texts)
    return [QuestionRow("What is it?" if t.pair is None else t.text, t.pair or t.text, None, t.where) for t in texts]


def ids_of(checkpoint: Checkpoint, rows: Sequence[Row]) -> set[int]:
    """The tokens of these rows."""
    texts = list({text: None for row in rows for text in row.texts})
    found: set[int] = set()
    for start in range(0, len(texts), 1000):
        for encoding in checkpoint.tokenizer.encode_batch_fast(texts[start : start + 1000], add_special_tokens=False):
            found.update(encoding.ids)
    return found


def changed(whole: Checkpoint, small: Checkpoint, rows: Sequence[Row]) -> dict[str, Any]:
    """Of rows, by both vocabularies: shares of other pieces and of the same answers, and how far logits move."""
    kept = small.kept or ()
    texts = list({text: None for row in rows for text in row.texts})
    was, now = (one.tokenizer.encode_batch_fast(texts, add_special_tokens=False) for one in (whole, small))
    other = {t for t, a, b in zip(texts, was, now, strict=True) if a.ids != [kept[n] for n in b.ids]}
    asked = rows[:: -(-len(rows) // MOST[whole.task.kind])]
    (want, logits), (got, others) = (answers(one, asked) for one in (whole, small))
    moved = [float(np.abs(a - b).max()) for a, b in zip(logits, others, strict=True)]
    elsewise = [size for row, size in zip(asked, moved, strict=True) if other.intersection(row.texts)]
    found = {
        "texts": len(texts),
        "other_pieces": round(len(other) / len(texts), 4),
        "more_tokens": round(sum(len(b.ids) for b in now) / sum(len(a.ids) for a in was) - 1, 4),
        "answered": len(asked),
        "read_otherwise": len(elsewise),
        "same_answers": round(float(np.mean([a == b for a, b in zip(want, got, strict=True)])), 4),
        "largest": round(max(float(np.abs(a).max()) for a in logits), 3),
        "largest_change": round(max(moved), 3),
        "middle_change_of_those_read_otherwise": round(float(np.median(elsewise)), 4) if elsewise else 0.0,
    }
    scores = {name: score(asked, given) for name, given in (("score_whole", want), ("score_smaller", got))}
    return found | {name: round(value, 2) for name, value in scores.items() if value is not None}


def answers(checkpoint: Checkpoint, rows: Sequence[Row]) -> tuple[list[str], list[Array]]:
    """The answer to each row, a label's number or a text; its logits, [labels], or what no answer scores above it."""
    tokenizer, predict = checkpoint.served_tokenizer, torch_predictor(checkpoint.model)
    asked = [row for row in rows if isinstance(row, QuestionRow)]
    if asked:
        said, margins = answered(asked, tokenizer, partial(run_all, predict))
        return said, [np.array([margin]) for margin in margins]
    texts = [row.text if row.pair is None else (row.text, row.pair) for row in rows if isinstance(row, TextRow)]
    logits = [one.astype(np.float64) for one in run_all(predict, prepare_texts(tokenizer, texts))]
    return [str(int(one.argmax())) for one in logits], logits


def score(rows: Sequence[Row], given: Sequence[str]) -> float | None:
    """Accuracy on SST-2's labels, or F1, of 100; None where rows have no such labels."""
    asked = [row for row in rows if isinstance(row, QuestionRow) and row.answers]
    if len(asked) == len(rows):
        return squad_metrics(asked, given, [0.0] * len(asked))["f1"]
    gold = [str(row.label) for row in rows if isinstance(row, TextRow) and row.pair is None]
    if len(gold) < len(rows) or not set(gold) <= {"0", "1"}:
        return None
    return 100 * float(np.mean([a == b for a, b in zip(gold, given, strict=True)]))


def low_rank(folder: Path, train: Path) -> dict[str, Any]:
    """Tables of words in fewer bytes: what each costs on rows of the training set, beside the table as it is."""
    checkpoint = load_checkpoint(folder)  # its table is changed
    rows = [row for row in read_data(train, "texts").rows if isinstance(row, TextRow)]
    picked = [rows[n] for n in np.random.default_rng(0).permutation(len(rows))[:CALIBRATION]]
    model, tokenizer = checkpoint.model, checkpoint.served_tokenizer
    inputs = prepare_texts(tokenizer, [row.text for row in picked])
    gold = np.array([int(str(row.label)) for row in picked])
    table = model.embeddings.word.weight.detach().clone()
    counts = torch.zeros(len(table))
    for tokens in prepare_texts(tokenizer, [row.text for row in rows[::4]]):
        counts.index_add_(0, torch.tensor(tokens.ids), torch.ones(len(tokens.ids)))
    size, width = table.shape
    tables = {"float16": (table, 2 * table.numel()), "8 bits": (rounded(table, 8), table.numel() + 4 * size)}
    for rank, near in _factored(table, counts):
        tables[f"rank {rank}, float16"] = near, 2 * rank * (size + width)
    found: dict[str, Any] = {}
    want: Array | None = None
    for name, (values, count) in tables.items():
        with torch.no_grad():
            model.embeddings.word.weight.copy_(values)
        logits = np.stack(run_all(torch_predictor(model), inputs)).astype(np.float64)
        want = logits if want is None else want
        likely = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        found[name] = {
            "megabytes": round(count / 1e6, 2),
            "loss": round(float(-likely[np.arange(len(gold)), gold].mean()), 4),
            "same_answers": round(float((logits.argmax(1) == want.argmax(1)).mean()), 4),
        }
    return {"rows": len(picked), "tables": found}


def _factored(table: Tensor, counts: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Tables of each rank, nearest by how often tokens occur, around their mean."""
    weight = (counts + SHIFT).sqrt()[:, None]
    mean = (table * weight**2).sum(0) / (weight**2).sum()
    left, sizes, right = torch.linalg.svd((table - mean) * weight, full_matrices=False)
    for rank in RANKS:
        yield rank, (left[:, :rank] * sizes[:rank]) @ right[:rank] / weight + mean


if __name__ == "__main__":
    main()
