"""From text to logits, by transformers and by an artifact as the service reads it: equal, or refused by name.

`python -m tests.odd.test_differential 2000` compares that many texts and pairs with every variant.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.errors import PGBError
from pgb_core.export.parity import TOLERANCE
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Tokens
from pgb_core.pipeline import compress
from pgb_core.session import open_session
from pgb_core.tasks.texts import SINGLE
from tests.odd.variants import VARIANTS, Variant, build

TEXTS = 20  # in one run of the tests
_BLOCKS = ((32, 126), (160, 591), (768, 879), (880, 1279), (1424, 1791), (2304, 2431), (8192, 8303), (12288, 12543),
           (19968, 20200), (44032, 44200), (65280, 65519), (127744, 128591), (0, 31))  # fmt: skip
_TOKENS = ("[CLS]", "[SEP]", "[MASK]", "[PAD]", "<s>", "</s>", "<mask>", "<pad>", "brandname", "[NAME]", "BrandName")

_OFFSET = ("roberta", "xlm-roberta", "camembert")  # those whose positions begin behind the padding's id


@dataclass
class Count:
    """What came of one variant."""

    texts: int = 0
    inputs: int = 0
    unequal: int = 0
    furthest: float = 0.0  # as a share of the largest logit
    refused: str | None = None


def texts(seed: int, count: int) -> Iterator[tuple[str, str | None]]:
    """Random texts and pairs: words, marks, scripts, blanks, special tokens, and lengths beyond the model's."""
    rng = random.Random(seed)  # noqa: S311 - texts, no secrets
    for _ in range(count):
        first = _text(rng)
        # What the library cuts off a pair grows with the square of it: pairs are short.
        yield (first[:600], _text(rng)[:600]) if rng.random() < 0.35 else (first, None)


def _text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13, 60 if rng.random() < 0.3 else 4))):
        kind = rng.random()
        if kind < 0.4:
            parts.append(rng.choice(SINGLE))
        elif kind < 0.55:
            parts.append(rng.choice(_TOKENS))
        else:
            low, high = rng.choice(_BLOCKS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 12))))
        parts.append(rng.choice((" ", " ", "", "  ", "\n", "\t", ". ", "\u3000")))
    return "".join(parts)[:4000]


def compare(variant: Variant, folder: Path, count: int, seed: int = 0) -> Count:
    """Make an artifact of all of a variant, and hold it against transformers."""
    return hold(build(variant, folder / "model", seed), folder / "out", variant.task, count, seed)


def hold(source: Path, out: Path, task: str, count: int, seed: int = 0) -> Count:
    """Make an artifact of all of a checkpoint, and hold it against transformers on `count` texts and pairs."""
    found = Count()
    try:
        compress(CompressConfig(checkpoint=str(source), out=str(out), keep=1.0, device="cpu", forms="fp32"))
    except PGBError as error:
        found.refused = str(error)
        return found
    artifact = open_artifact(out)
    tokenizer = Tokenizer.open(artifact.tokenizer, artifact.manifest.max_length)
    session = open_session(artifact.graph("fp32").read_bytes(), threads=1)
    theirs = transformers.AutoTokenizer.from_pretrained(source)
    auto = (
        transformers.AutoModelForQuestionAnswering if task == "qa" else transformers.AutoModelForSequenceClassification
    )
    model = auto.from_pretrained(source, dtype=torch.float32).eval()
    positions = artifact.manifest.max_length if theirs.model_max_length > 1 << 20 else theirs.model_max_length
    length = min(positions, _positions(model))
    typed = hasattr(model.config, "type_vocab_size")
    uses_types = "token_type_ids" in theirs.model_input_names and typed
    top = getattr(model.config, "type_vocab_size", 1) - 1
    pairs: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []
    for text, pair in texts(seed, count):
        if task == "qa" and not (pair or "").strip():
            pair = "the film was good"
        found.texts += 1
        wanted = _theirs(theirs, text, pair, length, task)
        got = _ours(tokenizer, text, pair, length, task)
        for n, (ids, types) in enumerate(wanted):
            found.inputs += 1
            ours = got[n] if n < len(got) else Tokens([], [])
            used = [min(kind, top) for kind in types] if uses_types else [0] * len(ids)
            own = list(ours.types) if "token_type_ids" in artifact.manifest.inputs else used
            if list(ours.ids) != list(ids) or own != used or len(got) != len(wanted):
                found.unequal += 1
                continue
            pairs.append((_logits(model, ids, used if typed else None, task), _run(session, ours)))
    size = max((float(np.abs(a).max()) for a, _ in pairs), default=1.0)
    gaps = [float(np.abs(a - b).max()) / size for a, b in pairs]
    found.furthest = max(gaps, default=0.0)
    found.unequal += sum(not gap <= TOLERANCE for gap in gaps)
    return found


def _positions(model: Any) -> int:
    config = model.config
    return int(config.max_position_embeddings - (config.pad_token_id + 1 if config.model_type in _OFFSET else 0))


def _theirs(tokenizer: Any, text: str, pair: str | None, length: int, task: str) -> list[tuple[list[int], list[int]]]:
    how: dict[str, Any] = {"truncation": True}
    if task == "qa":
        how = {"truncation": "only_second", "stride": 4, "return_overflowing_tokens": True}
        text = "what was it"
    given = tokenizer(
        [text], [pair] if pair is not None else None, max_length=length, return_token_type_ids=True, **how
    )
    return list(zip(given["input_ids"], given["token_type_ids"], strict=True))


def _ours(tokenizer: Tokenizer, text: str, pair: str | None, length: int, task: str) -> list[Tokens]:
    work: Any = tokenizer.texts([text if pair is None else (text, pair)])
    if task == "qa":
        work = tokenizer.windows("what was it", pair or "", length, 4, 10_000)
    while True:
        try:
            next(work)
        except StopIteration as done:
            return [window.tokens for window in done.value] if task == "qa" else list(done.value)


def _logits(model: Any, ids: list[int], types: list[int] | None, task: str) -> np.ndarray[Any, Any]:
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    if types is not None:
        inputs["token_type_ids"] = torch.tensor([types])
    with torch.no_grad():
        said = model(**inputs, return_dict=True)
    found = torch.stack([said.start_logits, said.end_logits], -1) if task == "qa" else said.logits
    return np.asarray(found[0].float().numpy())


def _run(session: Any, tokens: Tokens) -> np.ndarray[Any, Any]:
    given = {"input_ids": tokens.ids, "attention_mask": [1] * len(tokens), "token_type_ids": tokens.types}
    feed = {i.name: np.asarray([given[i.name]], np.int64) for i in session.get_inputs()}
    outputs = session.run(None, feed)
    return np.asarray(outputs[0][0] if len(outputs) == 1 else np.stack([o[0] for o in outputs], -1))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_checkpoint_reads_as_transformers_reads_it_or_is_refused(variant: Variant, tmp_path: Path) -> None:
    """Equal ids and types, logits within the tolerance; those that one file cannot say are refused by their setting."""
    found = compare(variant, tmp_path, TEXTS)
    if variant.refused is not None:
        assert found.refused is not None
        assert variant.refused in found.refused
        assert not (tmp_path / "out").exists()
        return
    assert found.refused is None
    assert found.inputs >= found.texts == TEXTS
    assert found.unequal == 0


def main(count: int) -> dict[str, Count]:
    """Every variant on `count` texts; prints one line each."""
    done = {}
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            found = done[variant.name] = compare(variant, Path(folder), count, seed=1)
        print(f"{variant.name:40} {found}", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(any(count.unequal for count in main(int(sys.argv[1])).values()))
