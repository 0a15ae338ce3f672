"""Keeps the tokens that a run's texts use, and shows that these texts are read and answered as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice

from tokenizers import Tokenizer

from pgb_core.checkpoints.load import Checkpoint
from pgb_core.checkpoints.trim import trimmed
from pgb_core.config import CommonConfig
from pgb_core.data import Columns, Data, Row, read_data
from pgb_core.data.read import QUESTIONS
from pgb_core.data.rows import ORDINARY
from pgb_core.errors import CheckpointError, DataError
from pgb_core.export.parity import Parity, parity_of
from pgb_core.export.parts import table_bytes
from pgb_core.gate import gate
from pgb_core.inference.batches import run_all
from pgb_core.model.predict import torch_predictor
from pgb_core.progress.report import Report
from pgb_core.run.inputs import Inputs

ANSWERED = 64  # inputs that both models answer
SILENT = Report()
_AT_ONCE = 1000  # texts; an encoding takes thirty times as much as its text


@dataclass(frozen=True)
class Fitted:
    """A checkpoint, how near it is to transformers, and its inputs, with the tokens that stay.

    facts: of what went and what was compared, for the manifest.
    """

    checkpoint: Checkpoint
    text_parity: Parity
    inputs: Inputs
    facts: Mapping[str, object] = field(default_factory=dict)


def fitted(config: CommonConfig, checkpoint: Checkpoint, inputs: Inputs, report: Report) -> Fitted:
    """Keep the tokens that the texts of the data use.

    Every text is then read by both tokenizers, some inputs are answered by both models, and the probe texts go through
    transformers' answers again. Raises CheckpointError when a token cannot go, or when a text is read otherwise;
    DataError when --vocabulary-text cannot be read; ParityError when an answer differs.
    """
    learned = _texts(row for source in inputs.sources for row in source.rows) | _more(config, report)
    held_out = _texts(inputs.held_out.rows) if inputs.held_out else {}
    every = {**held_out, **learned}
    report.stage("Keeping the tokens that are used", 2 * len(every))
    old = checkpoint.tokenizer
    known = {n for item in chain(inputs.calibration, inputs.training) for n in item.ids}
    known |= _ids(old, learned, report)
    others = [text for text in held_out if text not in learned]
    small = trimmed(checkpoint, known | _ids(old, others, report))
    new = {n: place for place, n in enumerate(small.kept or ())}
    _same_pieces(old, small.tokenizer, new, every, report)
    fit = inputs.renumbered(new)
    parity = _same_logits(checkpoint, small, inputs, fit)
    facts = _told(checkpoint, small, len(every), report) | {
        "inputs": parity.inputs,
        "max_difference": parity.max_difference,
    }
    if inputs.held_out and learned:
        alone = _without(checkpoint, known, held_out)
        facts["held_out"] = {"texts": len(held_out), "with_tokens_of_their_own": alone}
        report.note(
            f"{inputs.held_out.short}: {alone:,} of {len(held_out):,} texts have tokens that no other text has; of new "
            "texts about as large a share is read by smaller pieces; --vocabulary-text keeps the tokens of more texts"
        )
    return Fitted(small, gate(small), fit, facts)


def _more(config: CommonConfig, report: Report) -> dict[str, str]:
    """The texts of --vocabulary-text, as `_texts` has them; none without it. Raises DataError."""
    if config.vocabulary_text is None:
        return {}
    more = more_texts(config.vocabulary_text, Columns(config.text_column, config.pair_column))
    for told in more.notes:
        report.note(told)
    for doubt in more.warnings:
        report.warn(doubt)
    return _texts(more.rows)


def _told(checkpoint: Checkpoint, small: Checkpoint, texts: int, report: Report) -> dict[str, object]:
    """Say what went, and give it for the manifest. texts: how many have the same pieces as before."""
    before, after = _megabytes(checkpoint), _megabytes(small)
    all_tokens, tokens = checkpoint.model.config.vocab, small.model.config.vocab
    report.note(
        f"vocabulary: {tokens:,} of {all_tokens:,} tokens stay; words and tokenizer take "
        f"{after:.1f} MB in place of {before:.1f}; {texts:,} texts have the same pieces"
    )
    return {
        "tokens": {"before": all_tokens, "after": tokens},
        "megabytes": {"before": round(before, 3), "after": round(after, 3)},
        "texts": texts,
        "same_pieces": texts,
    }


def more_texts(place: str, columns: Columns = ORDINARY) -> Data:
    """Texts, or questions with what they are about, whatever the model's task and the labels. Raises DataError.

    columns: of the texts, where the file has them; another file than those of the rows may name its columns otherwise.
    """
    alone = Columns(columns.text, columns.pair, texts_alone=True)
    try:
        return read_data(place, "texts", "train", alone)
    except DataError:
        for kind in ("texts", QUESTIONS):
            with suppress(DataError):
                return read_data(place, kind, "train", Columns(texts_alone=True))
        raise


def _texts(rows: Iterator[Row] | Sequence[Row]) -> dict[str, str]:
    """Each text once, with where it stands first."""
    found: dict[str, str] = {}
    for row in rows:
        for text in row.texts:
            found.setdefault(text, row.where)
    return found


def _encoded(
    tokenizer: Tokenizer, texts: Sequence[str] | Mapping[str, str], report: Report = SILENT
) -> Iterator[tuple[str, list[int]]]:
    """Each text with its ids, without those that stand around it."""
    rest = iter(texts)
    while part := list(islice(rest, _AT_ONCE)):
        for text, encoding in zip(part, tokenizer.encode_batch_fast(part, add_special_tokens=False), strict=True):
            yield text, encoding.ids
        report.advance(len(part))


def _ids(tokenizer: Tokenizer, texts: Sequence[str] | Mapping[str, str], report: Report) -> set[int]:
    found: set[int] = set()
    for _, ids in _encoded(tokenizer, texts, report):
        found.update(ids)
    return found


def _same_pieces(
    old: Tokenizer, small: Tokenizer, new: Mapping[int, int], texts: Mapping[str, str], report: Report
) -> None:
    """Raises CheckpointError when a text has other pieces than before. texts: with where each stands."""
    differ = []
    for (text, was), (_, now) in zip(_encoded(old, texts), _encoded(small, texts, report), strict=True):
        if [new.get(n) for n in was] != now:
            differ.append(texts[text])
    if differ:
        raise CheckpointError(
            f"{differ[0]}: has other pieces with the smaller vocabulary, as {len(differ):,} of {len(texts):,} texts "
            "have; leave --vocabulary used out, and please report the checkpoint"
        )


def _same_logits(checkpoint: Checkpoint, small: Checkpoint, inputs: Inputs, fit: Inputs) -> Parity:
    """Both models on the first inputs. Raises CheckpointError when they differ."""
    want, got = (
        run_all(torch_predictor(one.model), [item.tokens for item in given.calibration[:ANSWERED]])
        for one, given in ((checkpoint, inputs), (small, fit))
    )
    found = parity_of(want, got)
    if not found.max_difference <= found.allowed:
        raise CheckpointError(
            f"{checkpoint.source}: with the smaller vocabulary its logits differ by {found.max_difference:.1e}; leave "
            "--vocabulary used out, and please report the checkpoint"
        )
    return found


def _without(checkpoint: Checkpoint, known: set[int], texts: Mapping[str, str]) -> int:
    """How many of these texts would lose a token if only the others' were kept."""
    kept = set(trimmed(checkpoint, known).kept or ())
    return sum(not kept.issuperset(ids) for _, ids in _encoded(checkpoint.tokenizer, texts))


def _megabytes(checkpoint: Checkpoint) -> float:
    """Megabytes of the table of words as the form fp32 stores it, and of the tokenizer."""
    return (table_bytes(checkpoint.model.embeddings.word.weight) + len(checkpoint.reading.file())) / 1e6
