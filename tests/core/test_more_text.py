"""Text made of the rows there are, and learning from it beside labelled rows."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from pgb_core.artifact import open_artifact
from pgb_core.config import CompressConfig
from pgb_core.data import QuestionRow, TextRow
from pgb_core.errors import ConfigError, DataError
from pgb_core.learn.finetune import Schedule, Trainer, epoch_of
from pgb_core.pipeline import compress
from pgb_core.tasks.more_text import more_questions, more_texts
from tests.conftest import small_encoder
from tests.core.small import checkpoint, settings
from tests.core.test_training import LABEL, features, taught
from tests.reports import Heard

TEXTS = [TextRow(" ".join(f"w{n}x{k}" for k in range(2 + n % 12)), None, 1, str(n)) for n in range(60)]
PAIRS = [replace(row, pair=f"p{n} is a pair") for n, row in enumerate(TEXTS)]
CONTEXTS = [f"In 19{n:02} the town of Uff{n} sang. It was a very good song about rivers in Ham{n}." for n in range(9)]
QUESTIONS = [QuestionRow(f"who sang {n}", CONTEXTS[n // 4], (("sang", 25),), str(n)) for n in range(36)]


def test_spans_are_parts_of_texts_and_mixtures_are_two_in_one() -> None:
    """As many as asked, none twice, none that was there; no label."""
    spans, mixtures = more_texts(TEXTS, 200, 0)
    made = [row.text for row in (*spans, *mixtures)]
    assert len(made) == len(set(made)) == 200
    assert not set(made) & {row.text for row in TEXTS}
    assert all(row.label is None and row.pair is None for row in (*spans, *mixtures))
    assert len(spans) > 60 < len(mixtures)
    for row in spans:
        whole = TEXTS[int(row.where)].text
        assert f" {row.text} " in f" {whole} "
        assert 2 * len(row.text.split()) >= len(whole.split()) - 1
    for row in mixtures:
        first, last = (int(word.partition("x")[0][1:]) for word in (row.text.split()[0], row.text.split()[-1]))
        assert first != last
        begun, ended = (" ".join(w for w in row.text.split() if w.startswith(f"w{n}x")) for n in (first, last))
        assert row.text == f"{begun} {ended}"
        assert TEXTS[first].text.startswith(begun)
        assert TEXTS[last].text.endswith(ended)


def test_of_pairs_one_text_is_cut_or_exchanged() -> None:
    """The first text stays with its label's place, the second comes from another row."""
    spans, mixtures = more_texts(PAIRS, 100, 0)
    seconds = {row.pair for row in PAIRS}
    assert spans
    assert mixtures
    assert all(row.text == PAIRS[int(row.where)].text and row.pair in seconds for row in mixtures)
    for row in spans:
        before = PAIRS[int(row.where)]
        assert (row.text != before.text) + (row.pair != before.pair) == 1


def test_questions_meet_the_contexts_beside_theirs_and_sentences_become_questions() -> None:
    """As many as asked, none twice; a cloze question lacks some words of a sentence that its context has."""
    moved, clozes = more_questions(QUESTIONS, 60, 0)
    assert len({(row.question, row.context) for row in (*moved, *clozes)}) == len(moved) + len(clozes) == 60
    assert len(moved) > 15 < len(clozes)
    for row in moved:
        own = QUESTIONS[int(row.where)]
        assert row.question == own.question
        assert 1 <= abs(CONTEXTS.index(row.context) - CONTEXTS.index(own.context)) <= 2
    for row in clozes:
        before, _, after = row.question.removesuffix("?").partition("what")
        assert before.strip() in row.context
        assert after.strip() in row.context
        assert row.question != row.context
    assert all(row.answers is None for row in (*moved, *clozes))


def test_the_seed_decides_what_is_made() -> None:
    """All of it."""
    assert more_texts(TEXTS, 50, 3) == more_texts(TEXTS, 50, 3) != more_texts(TEXTS, 50, 4)
    assert more_questions(QUESTIONS, 50, 3) == more_questions(QUESTIONS, 50, 3) != more_questions(QUESTIONS, 50, 4)


def test_rows_that_give_no_more_are_no_endless_task() -> None:
    """Single words, one context without sentences, and nothing at all."""
    few = [TextRow(word, None, 1, "") for word in ("good", "bad")]
    assert {row.text for row in more_texts(few, 50, 0)[1]} == {"good bad", "bad good"}
    assert more_questions([QuestionRow("who", "a song", None, "")], 50, 0) == ([], [])
    assert more_texts([], 50, 0) == ([], [])


def test_a_step_has_labels_for_all_of_its_inputs_or_for_none() -> None:
    """Every input is there once, the number of steps does not depend on the seed, and both kinds are mixed."""
    every = [*features(40), *(replace(item, target=None, row=-1 - item.row) for item in features(30))]
    groups = epoch_of(every, 60, 0)
    assert sorted(item.row for group in groups for item in group) == sorted(item.row for item in every)
    kinds = [{item.target is None for item in group} for group in groups]
    assert all(len(kind) == 1 for kind in kinds)
    assert len(epoch_of(every, 60, 7)) == len(groups)
    changes = sum(one != other for one, other in itertools.pairwise(kinds))
    assert changes > 4
    assert epoch_of(features(40), 60, 5) != epoch_of(features(40), 60, 6)


def test_labels_count_where_there_are_any() -> None:
    """A student that equals its teacher has nothing to learn but the labels; without a teacher all must have one."""
    dense = small_encoder("bert", "classification")
    every = [*features(8), *(replace(item, target=None, row=-1 - item.row) for item in features(8))]
    trainer = Trainer(dense, taught(dense), every, LABEL, Schedule(epochs=1, tokens=64, learning_rate=1e-12))
    losses = {True: [0.0][:0], False: [0.0][:0]}

    def seen(step: int, loss: float) -> None:
        losses[epoch_of(every, 64, 0)[step - 1][0].target is None].append(loss)

    trainer.run(progress=seen)
    assert losses[True]
    assert losses[False]
    assert max(losses[True]) < 0.01 < min(losses[False])
    with pytest.raises(DataError, match="needs labels or distillation"):
        Trainer(dense, None, every, LABEL, Schedule(distill=False))


@pytest.mark.parametrize("task", ["classification", "qa"])
def test_a_run_learns_from_more_text_and_says_how_much(task: str, tmp_path: Path, texts: Path, questions: Path) -> None:
    """The rest is as before: the setting is in the manifest."""
    told = Heard()
    model = checkpoint(tmp_path / "model", "bert", task)
    data = texts if task == "classification" else questions
    done = compress(settings(model, tmp_path / "small", data, structure="nested", epochs=1.0, more_text=0.5), told)
    assert open_artifact(done.path).manifest.provenance["settings"]["more_text"] == 0.5
    (said,) = [text for text in told.said if "more rows to learn from" in text]
    count = int(said.partition(": ")[2].partition(" more")[0])
    assert count == {"classification": 40, "qa": 12}[task]


def test_more_text_without_a_teacher_is_refused() -> None:
    """Nobody would label it."""
    with pytest.raises(ConfigError, match="--more-text is labelled by the dense model"):
        CompressConfig(checkpoint="m", out="o", train="t", more_text=0.5, distill=False)
