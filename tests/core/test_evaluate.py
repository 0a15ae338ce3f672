"""Metrics against their definitions and independent implementations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer as Fast
from tokenizers import models, pre_tokenizers, processors

from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.cli import main
from pgb_core.data import QuestionRow
from pgb_core.errors import ArtifactError
from pgb_core.export import write
from pgb_core.inference.batches import Predict
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Tokens
from pgb_core.measure.scoring import score
from pgb_core.model.surgery import apply_plan
from pgb_core.tasks import TASKS, Source, Subject, metrics, squad
from pgb_core.tasks.classification import Classification, Probability
from pgb_core.tasks.qa import answered
from tests.core.planned import dense_plan
from tests.core.small import checkpoint
from tests.made import rewritten


def scored(logits: NDArray[np.float32], gold: list[object], problem: str | None) -> metrics.Metrics:
    """The metrics of a head of as many labels as there are logits."""
    head = Classification().objective(problem, logits.shape[1])
    return head.metrics(logits.astype(np.float64), np.asarray(gold, np.float64))


def question(name: str, *answers: str) -> QuestionRow:
    """With golden answers, or unanswerable without."""
    return QuestionRow("?", "context", tuple((text, 0) for text in answers), name)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The  Quick, brown fox!", "quick brown fox"),
        ("a an the", ""),
        ("U.S.", "us"),
        ("theatre", "theatre"),
        ("é–é", "é–é"),
    ],
)
def test_answers_are_normalised_as_squad_does(text: str, wanted: str) -> None:
    """Lower case, ASCII punctuation out, articles out, single spaces."""
    assert squad.normalize_answer(text) == wanted


def test_squad_scores_by_hand() -> None:
    """EM and F1 with several golden answers, in percent."""
    rows = [question("1", "the whale oil", "oil"), question("2", "eleven years")]
    found = squad.squad_metrics(rows, ["Whale oil.", "twelve years"], [0.0, 0.0])
    assert found == {"exact_match": 50.0, "f1": pytest.approx(75.0)}


def test_squad_2_thresholds_by_hand() -> None:
    """The best threshold answers the first question and stays silent on the second."""
    rows = [question("1", "oil"), question("2")]
    found = squad.squad_metrics(rows, ["oil", "granite"], [-3.0, 2.0])
    assert found["exact_match"] == found["f1"] == 50.0
    assert found["best_f1"] == found["best_exact_match"] == 100.0
    assert -3.0 <= found["best_f1_threshold"] < 2.0


def test_an_answer_of_an_article_alone_is_one_all_the_same() -> None:
    """What no answer can match is no unanswerable question: SQuAD's script goes by whether there are answers."""
    assert squad.squad_metrics([question("1", "the"), question("2", "oil")], ["oil", "oil"], [0.0, 0.0]) == {
        "exact_match": 50.0,
        "f1": 50.0,
    }
    found = squad.squad_metrics([question("1", "the"), question("2")], ["oil", "oil"], [0.0, 1.0])
    assert found["best_exact_match"] == found["best_f1"] == 50.0


@given(
    data=st.lists(
        st.tuples(st.floats(-5, 5), st.booleans(), st.booleans()), min_size=1, max_size=12, unique_by=lambda t: t[0]
    )
)
@settings(max_examples=60, deadline=None)
def test_the_best_threshold_is_the_best_of_all(data: list[tuple[float, bool, bool]]) -> None:
    """Against trying every threshold; margins differ, since no threshold can part equal ones."""
    rows = [question(str(n), *(["oil"] if has else [])) for n, (_, has, _) in enumerate(data)]
    answers = ["oil" if right else "granite" for _, _, right in data]
    margins = [m for m, _, _ in data]
    found = squad.squad_metrics(rows, answers, margins)

    def score(threshold: float) -> float:
        given = [a if m <= threshold else "" for a, m in zip(answers, margins, strict=True)]
        return squad.squad_metrics(rows, given, margins)["f1"]

    if not all(row.answers for row in rows):
        tried = [score(t) for t in [*margins, -100.0]]
        assert found["best_f1"] == pytest.approx(max(tried))


@given(pairs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_matthews_is_the_correlation_of_two_classes(pairs: list[tuple[int, int]]) -> None:
    """For two classes it is Pearson's phi; where one side is constant it is not defined."""
    p, g = (np.array([min(pair[k], 1) for pair in pairs], float) for k in (0, 1))
    wanted = None if p.std() == 0 or g.std() == 0 else pytest.approx(np.corrcoef(p, g)[0, 1], abs=1e-9)
    assert metrics.matthews(p, g) == wanted


def test_matthews_of_three_classes_by_hand() -> None:
    """Gorodkin's R_K: (c s - sum p t) / sqrt((s^2 - sum p^2)(s^2 - sum t^2))."""
    p, g = np.array([0, 1, 2, 2, 1, 0.0]), np.array([0, 1, 2, 1, 1, 2.0])
    c, s, pk, tk = 4, 6, np.array([2, 2, 2]), np.array([1, 3, 2])
    wanted = (c * s - pk @ tk) / np.sqrt((s**2 - pk @ pk) * (s**2 - tk @ tk))
    assert metrics.matthews(p, g) == pytest.approx(wanted)


def test_macro_f1_by_hand() -> None:
    """F1 of class 0 is a half, of class 1 two thirds, of class 2 nothing; class 3 is in neither, and is left out."""
    p, g = np.array([0, 0, 1, 1, 1, 2.0]), np.array([0, 2, 1, 1, 0, 1.0])
    assert metrics.macro_f1(p, g) == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_each_kind_of_head_gets_its_metrics() -> None:
    """Two classes, many classes, many labels, a regression."""
    two = scored(np.array([[1, 0], [0, 1], [0, 1]], np.float32), [0, 1, 0], None)
    assert two == {"accuracy": pytest.approx(2 / 3), "f1": pytest.approx(2 / 3), "matthews": pytest.approx(0.5)}
    three = scored(np.eye(3, dtype=np.float32), [0, 1, 2], None)
    assert three == {"accuracy": 1.0, "macro_f1": 1.0, "matthews": pytest.approx(1.0)}
    many = scored(np.array([[1, -1], [1, 1]], np.float32), [(1.0, 0.0), (0.0, 1.0)], "multi_label_classification")
    assert many == {"accuracy": 0.5, "f1": pytest.approx(0.8)}
    line = scored(np.array([[1], [2], [4]], np.float32), [2.0, 3.0, 9.0], "regression")
    assert line == {"pearson": pytest.approx(np.corrcoef([1, 2, 4], [2, 3, 9])[0, 1]), "spearman": pytest.approx(1.0)}


def words(length: int, *vocabulary: str) -> Tokenizer:
    """One token a word, numbered from 1, between BERT's special tokens."""
    names = ("[UNK]", *vocabulary, "[CLS]", "[SEP]")
    fast = Fast(models.WordLevel({word: n for n, word in enumerate(names)}, "[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.BertProcessing(("[SEP]", len(names) - 1), ("[CLS]", len(names) - 2))
    return Tokenizer(fast.to_str(), length)


def pointed(scores: Mapping[int, tuple[float, float]]) -> Predict:
    """A model with these start and end logits of tokens, whatever else it reads, and -5 elsewhere."""

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        return [np.array([scores.get(int(token), (-5, -5)) for token in item.ids], np.float32) for item in batch]

    return predict


def test_answers_are_those_of_the_context_within_the_service_s_length() -> None:
    """A higher-scoring span in the question, or of more than 15 tokens, is not taken."""
    tokenizer = words(64, "who", "she", "sings", "and", "plays")
    question = QuestionRow("who", "she sings and plays", (), "1")
    predict = pointed({1: (9, 9), 2: (3, -5), 3: (-5, 2), 5: (-5, 4)})
    assert answered([question], tokenizer, predict)[0] == ["she sings and plays"]
    long = replace(question, context=f"she sings {'and ' * 15}plays")
    assert answered([long], tokenizer, predict)[0] == ["she sings"]


def test_a_question_that_the_service_refuses_has_no_answer() -> None:
    """It leaves no room for its context; the others are answered."""
    tokenizer = words(16, "who", "oil", "she")
    asked = [QuestionRow(who, "she " * 20 + "oil", (("oil", 80),), "here") for who in ("who " * 20, "who")]
    answers, margins = answered(asked, tokenizer, pointed({2: (5, 5)}))
    assert answers == ["", "oil"]
    assert margins[0] == 1.0
    assert margins[1] < -0.5


def test_a_model_that_prefers_to_say_nothing_is_right_where_there_is_no_answer() -> None:
    """Plain figures of SQuAD 2.0 are those of `handle_impossible`, the best ones over all thresholds."""
    tokenizer = words(16, "who", "what", "oil")
    rows = [QuestionRow("who", "oil", (("oil", 0),), "here"), QuestionRow("what", "oil", (), "here")]

    def predict(batch: Sequence[Tokens]) -> list[Logits]:
        """No answer, the first token, scores higher than the only word where it is asked what."""
        return [np.array([(2.0 if 2 in item.ids else -2.0,) * 2, *[(0.0, 0.0)] * (len(item) - 1)]) for item in batch]

    subject = Subject(TASKS["qa"], (), None)
    source = Source("file", rows, [row.answers for row in rows], "")
    found = subject.task.score(source, subject, tokenizer, predict)
    assert found["exact_match"] == found["f1"] == found["best_f1"] == 100.0
    assert found["best_f1_threshold"] == pytest.approx(answered(rows, tokenizer, predict)[1][0])
    assert -1 < found["best_f1_threshold"] < 0


NOTHING = "no row has a label, and the model gives none"


@pytest.mark.parametrize(
    ("logits", "gold", "kind", "reasons"),
    [
        ([[1], [2]], [3.0, 3.0], "regression", dict.fromkeys(("pearson", "spearman"), "all rows have one label")),
        ([[2], [2]], [1.0, 3.0], None, dict.fromkeys(("pearson", "spearman"), "the model gives all rows one answer")),
        ([[2]], [1.0], None, dict.fromkeys(("pearson", "spearman"), "a correlation needs two rows or more")),
        ([[0, 1], [1, 0]], [1, 1], None, {"matthews": "all rows have one label"}),
        ([[0, 1], [0, 1]], [1, 0], None, {"matthews": "the model gives all rows one answer"}),
        (
            [[1, 0], [1, 0]],
            [0, 0],
            None,
            {"f1": "no row is of class 1, and the model gives it to none", "matthews": "all rows have one label"},
        ),
        (
            [[-1, -1]],
            [(0.0, 0.0)],
            "multi_label_classification",
            {"f1": "no row has a label, and the model gives none"},
        ),
    ],
)
def test_what_is_not_defined_is_null_with_a_reason(
    logits: list[list[float]], gold: list[object], kind: str | None, reasons: dict[str, str]
) -> None:
    """And JSON can say all of it; what is defined stands beside it."""
    found = scored(np.array(logits, np.float32), gold, kind)
    assert found.reasons == reasons
    assert {name for name, value in found.items() if value is None} == set(reasons)
    assert json.loads(json.dumps(found.rounded(6), allow_nan=False)) == found.rounded(6)
    whole = scored(np.array([[1, 0], [0, 1]], np.float32), [0, 1], None)
    assert not whole.reasons
    assert whole.rounded(6) == {"accuracy": 1.0, "f1": 1.0, "matthews": 1.0}


def test_the_command_prints_a_metric_as_the_job_prints_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """748/903 is 0.8283499; in a manifest, and so in what the job prints, it is 0.82835."""
    monkeypatch.setattr("pgb_core.measure.scoring.score", lambda *_, **__: metrics.Metrics({"f1": 748 / 903}))
    assert main(["evaluate", "model", "--data", "rows.tsv"]) == 0
    assert capsys.readouterr().out.split() == ["f1", "0.8284"]


def test_a_folder_of_artifacts_is_told_as_one(tmp_path: Path) -> None:
    """And not as a checkpoint that lacks its files."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "manifest.json").write_text("{}")
    rows = tmp_path / "dev.tsv"
    rows.write_text("text\tlabel\nfine\t1\n")
    with pytest.raises(ArtifactError, match=r"it holds artifacts; name one of them, such as .*small"):
        score(tmp_path, str(rows))


@pytest.mark.parametrize(
    ("labels", "problem", "rows"),
    [
        (1, "regression", "the film\t3.5\na song\t1\nvery good\t2\n"),
        (1, None, "the film\t0.5\na song\t1\nvery good\t0\n"),
        (2, "multi_label_classification", "the film\t[0, 1]\na song\t[1, 1]\nvery good\t[0, 0]\n"),
        (2, None, "the film\t0\na song\t1\nvery good\t0\n"),
    ],
)
def test_an_artifact_is_scored_alike_without_its_provenance(
    labels: int, problem: str | None, rows: str, tmp_path: Path
) -> None:
    """Who gives a model away takes names of files out of the manifest."""
    loaded = load_checkpoint(
        checkpoint(tmp_path / "model", "bert", "classification", num_labels=labels, problem_type=problem)
    )
    plan = dense_plan(loaded.model)
    model = apply_plan(loaded.model, plan).eval()
    whole = write.write(tmp_path / "whole", write.Made(loaded, model, plan, ("fp32",), threads=1, tried=False))
    bare = rewritten(whole, tmp_path / "bare", {}, provenance={})
    data = tmp_path / "rows.tsv"
    data.write_text(f"text\tlabel\n{rows}", "utf-8")
    assert score(bare.path, data) == score(whole.path, data)


def test_a_probability_is_scored_as_it_is_served() -> None:
    """The correlation is that of what a sigmoid makes of the logits."""
    logits = np.array([[-9.0], [1.0], [9.0], [2.0]])
    assert Probability().metrics(logits, 1 / (1 + np.exp(-logits[:, 0])))["pearson"] == pytest.approx(1.0)
