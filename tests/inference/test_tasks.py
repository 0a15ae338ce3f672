"""Scores and answers from given logits."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Fast

from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.classification import Labelling, activate, ranked
from pgb_core.inference.tasks.qa import Options, Windowing, best
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Window

CONTEXT = "the film was very good and the town sang"


@pytest.mark.parametrize("extreme", [[-1e4, 0.0, 3.0], [1e4, -1e4, 0.0], [88.0, 89.0, 90.0], [3e38, -3e38, 0.0]])
def test_extreme_logits_stay_finite(extreme: list[float]) -> None:
    """One very negative or very large logit makes no NaN, and order is kept."""
    logits = np.array(extreme, np.float32)
    for name in ("softmax", "sigmoid"):
        scores = activate(logits, name)
        assert np.isfinite(scores).all()
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (np.diff(scores[np.argsort(logits)]) >= 0).all()
    assert activate(logits, "softmax").sum() == pytest.approx(1)


def test_each_row_of_logits_has_scores_of_its_own() -> None:
    """As many rows as labels, so that no axis can stand for the other."""
    logits = np.log(np.array([[1, 3], [9, 1]], np.float32))
    assert activate(logits, "softmax") == pytest.approx(np.array([[0.25, 0.75], [0.9, 0.1]]))
    assert activate(logits, "sigmoid") == pytest.approx(np.array([[0.5, 0.75], [0.9, 0.5]]))
    assert activate(logits, "none") == pytest.approx(logits)


def test_ranking_is_stable() -> None:
    """Equal scores come in label order."""
    given = [np.array(row, np.float32) for row in ([1, 2, 2, 0], [0, 0, 0, 7])]
    found = ranked(given, ("a", "b", "c", "d"), "none", 3)
    assert [[(s.label, s.score) for s in row] for row in found] == [
        [("b", 2.0), ("c", 2.0), ("a", 1.0)],
        [("d", 7.0), ("a", 0.0), ("b", 0.0)],
    ]


def test_windows_have_384_tokens_and_share_half_of_one_or_128_by_default() -> None:
    """Windows of a question, and of a long text, which are as long as the model takes; a request may say otherwise."""
    assert [Windowing().within(length) for length in (64, 300, 512)] == [(64, 32), (300, 128), (384, 128)]
    assert [Labelling().shared(length) for length in (64, 300, 512)] == [32, 128, 128]
    assert [Windowing(400, 0).within(length) for length in (64, 512)] == [(64, 0), (400, 0)]
    assert Labelling(stride=7).shared(64) == 7


@pytest.fixture
def tokenizer(artifacts: tuple[Path, Path]) -> Tokenizer:
    """The small QA model's."""
    return Tokenizer.open(artifacts[1] / "tokenizer.json", 64)


def spans(window: Window, start: str, end: str, height: float = 9.0) -> np.ndarray:
    """Logits that point at a first and a last word."""
    logits = np.zeros((len(window.tokens), 2), np.float32)
    words = [CONTEXT[a:b] if token in window.context else "" for token, (a, b) in enumerate(window.spans.tolist())]
    logits[words.index(start), 0] = height
    logits[words.index(end), 1] = height
    return logits


def test_windows_equal_the_tokenizer_s_own_truncation(tokenizer: Tokenizer, artifacts: tuple[Path, Path]) -> None:
    """Cut by hand so that requests may differ, with the result that enable_truncation gives."""
    reference = Fast.from_file(str(artifacts[1] / "tokenizer.json"))
    reference.enable_truncation(20, stride=5, strategy="only_second")
    encoding = reference.encode("who sang", CONTEXT * 4)
    wanted = [(e.ids, e.type_ids, e.offsets) for e in (encoding, *encoding.overflowing)]
    found = all_of(tokenizer.windows("who sang", CONTEXT * 4, 20, 5, 256))
    assert len(found) == 3
    shown = [(list(w.tokens.ids), list(w.tokens.types), [tuple(span) for span in w.spans.tolist()]) for w in found]
    assert shown == wanted


def test_the_answer_is_the_span_that_was_pointed_at(tokenizer: Tokenizer) -> None:
    """With its offsets, and a probability."""
    (window,) = all_of(tokenizer.windows("who sang", CONTEXT, 64, 0, 256))
    (answer,) = all_of(best(CONTEXT, [window], [spans(window, "very", "good")], Options()))
    assert (answer.text, CONTEXT[answer.start : answer.end]) == ("very good", "very good")
    assert 0.9 < answer.score <= 1.0


def test_a_span_is_no_longer_than_allowed_and_never_backwards(tokenizer: Tokenizer) -> None:
    """Even where the scores say so."""
    (window,) = all_of(tokenizer.windows("who sang", CONTEXT, 64, 0, 256))
    for start, end, longest in (("film", "town", 3), ("town", "film", 15)):
        for answer in all_of(best(CONTEXT, [window], [spans(window, start, end)], Options(5, longest))):
            assert 1 <= len(answer.text.split()) <= longest


def test_equal_answers_of_several_windows_are_one(tokenizer: Tokenizer) -> None:
    """Their scores add up."""
    (window,) = all_of(tokenizer.windows("who sang", CONTEXT, 64, 0, 256))
    logits = spans(window, "town", "town")
    (once,) = all_of(best(CONTEXT, [window], [logits], Options()))
    (twice,) = all_of(best(CONTEXT, [window, window], [logits, logits], Options()))
    assert twice.text == once.text
    assert twice.score == pytest.approx(2 * once.score)


def test_no_answer_competes_when_asked_to(tokenizer: Tokenizer) -> None:
    """Its score is the least null score of all windows."""
    (window,) = all_of(tokenizer.windows("who sang", CONTEXT, 64, 0, 256))
    logits = np.zeros((len(window.tokens), 2), np.float32)
    logits[0] = 9
    (silent,) = all_of(best(CONTEXT, [window], [logits], Options(handle_impossible=True)))
    assert (silent.text, silent.start, silent.end) == ("", 0, 0)
    (spoken,) = all_of(best(CONTEXT, [window], [logits], Options()))
    assert spoken.text != ""


def test_a_question_that_fills_the_window_is_refused(tokenizer: Tokenizer) -> None:
    """In words."""
    with pytest.raises(InvalidInput, match="leaves no room"):
        all_of(tokenizer.windows("who " * 30, CONTEXT, 32, 0, 256))
