"""A job's data: told, refused before the work, and tried on the dense model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.config import CompressConfig
from pgb_core.data import Columns, QuestionRow
from pgb_core.errors import DataError
from pgb_core.inference.batches import Predict
from pgb_core.inference.tasks.base import Logits
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Tokens
from pgb_core.measure.scoring import score
from pgb_core.run import reading
from pgb_core.run.inputs import read_inputs
from pgb_core.run.run import Run
from pgb_core.run.shared import Shared
from pgb_core.run.workspace import Workspace
from pgb_core.tasks import TASKS, Source, Subject
from tests.core.small import checkpoint
from tests.core.test_data import words
from tests.reports import Heard

MOODS = Subject(TASKS["classification"], ("bad", "good"), None)
QA = Subject(TASKS["qa"], (), None)
WORDS = words("good", "bad", "film", "the", "town", "sang", "who")
SERVED = Tokenizer(WORDS.to_str(), 32)


def by_word(batch: Sequence[Tokens]) -> list[Logits]:
    """A model that knows the words good (token 3) and bad (token 4)."""
    return [np.array([np.sum(np.array(item.ids) == word) for word in (4, 3)], np.float32) for item in batch]


def rows(folder: Path, count: int, turned: bool = False, name: str = "rows.jsonl") -> str:
    """A file of labelled texts, or of the same with the labels exchanged."""
    lines = [{"text": f"{word} film", "label": word} for word in ("good", "bad")] * (count // 2)
    if turned:
        lines = [{**line, "label": "bad" if line["label"] == "good" else "good"} for line in lines]
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder / name)


def test_what_is_read_is_told(tmp_path: Path) -> None:
    """Columns and labels, one sentence each."""
    told = Heard()
    found = reading.read(rows(tmp_path, 4), MOODS, reading.Options(), told)
    assert told.said == [
        "rows.jsonl: 4 rows, 2 columns: text from 'text', label from 'label'",
        "rows.jsonl: labels are names: bad (2), good (2)",
    ]
    assert found.targets == [1, 0, 1, 0]


def test_labels_that_the_model_contradicts_stop_the_work(tmp_path: Path) -> None:
    """With what exchanging them would give; trusted, they are a warning and stand in the manifest."""
    train = reading.read(rows(tmp_path, 60, turned=True), MOODS, reading.Options(), Heard())
    with pytest.raises(DataError, match=r"accuracy 0\.00 .* class has 0\.50; reading .* gives 1\.00, not 0\.00"):
        reading.Trial(MOODS, SERVED, by_word, Heard()).check(train, None)
    with pytest.raises(DataError, match=r"name the checkpoint that was trained for them, or go on with --trust-labels"):
        reading.Trial(MOODS, SERVED, by_word, Heard()).check(train, None)
    told = Heard()
    found = reading.Trial(MOODS, SERVED, by_word, told, trusted=True).check(train, None)["labels"]
    assert isinstance(found, dict)
    assert found["accuracy"] == 0.0
    assert "'bad' as 'good'" in str(found["doubt"])
    assert "--trust-labels goes on" in told.said[-1]


def test_labels_that_fit_go_on_and_those_to_score_with_only_warn(tmp_path: Path) -> None:
    """The manifest's entry is of those to learn from."""
    train = reading.read(rows(tmp_path, 60), MOODS, reading.Options(), Heard())
    held = reading.read(rows(tmp_path, 60, True, "dev.jsonl"), MOODS, reading.Options(), Heard())
    told = Heard()
    found = reading.Trial(MOODS, SERVED, by_word, told).check(train, held)
    assert found == {
        "labels": {"reading": "labels are names: bad (30), good (30)", "rows": 60, "accuracy": 1.0, "majority": 0.5}
    }
    assert told.said[0] == "rows.jsonl: the checkpoint's accuracy 1.00 on 60 rows, where the largest class has 0.50"
    assert "dev.jsonl: the checkpoint contradicts the labels to score with" in told.said[1]
    few = reading.read(rows(tmp_path, 8, True), MOODS, reading.Options(), Heard())
    told = Heard()
    reading.Trial(MOODS, SERVED, by_word, told).check(few, None)
    assert "too few to tell" in told.said[0]


def test_the_same_rows_are_tried_once_and_a_split_of_the_same_name_by_itself(tmp_path: Path) -> None:
    """Two splits of a hub dataset may be given by one name."""
    train = reading.read(rows(tmp_path, 60), MOODS, reading.Options(), Heard())
    split = reading.read(rows(tmp_path, 60, turned=True), MOODS, reading.Options(), Heard())
    assert split.name == train.name
    told = Heard()
    reading.Trial(MOODS, SERVED, by_word, told).check(train, split)
    assert "the checkpoint contradicts the labels to score with" in told.said[-1]
    told = Heard()
    reading.Trial(MOODS, SERVED, by_word, told).check(train, train)
    assert len(told.said) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"max_length": 16},
            ["2 of 3 rows are longer than 16 tokens and are cut there to learn from; --max-length changes"],
        ),
        ({}, ["1 of 3 rows is longer than 64 tokens and is cut there to learn from; the checkpoint takes no more"]),
        (
            {"max_length": 100},
            ["--max-length 100: the checkpoint takes 64 tokens, so rows to learn from are cut there", "1 of 3 rows is"],
        ),
    ],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_that_are_cut_to_learn_from_are_counted(
    given: dict[str, Any], said: list[str], side: str, tmp_path: Path
) -> None:
    """With the length, and with what changes it; nothing where none is cut."""
    model, file = checkpoint(tmp_path / "model", "bert", "classification"), tmp_path / "rows.jsonl"
    settings = model / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "truncation_side": side}))
    loaded, told = load_checkpoint(model), Heard()
    texts = ["the film", "the film was good " * 10, "good " * 80]
    file.write_text("".join(json.dumps({"text": text, "label": n % 2}) + "\n" for n, text in enumerate(texts)))
    found = read_inputs(CompressConfig(checkpoint=model, train=file, out=tmp_path / "o", **given), loaded, told)
    assert [item.cut for item in found.training] == [False, given.get("max_length") == 16, True]
    notes = [note for note in told.notes if "longer than" in note or "--max-length" in note]
    assert len(notes) == len(said)
    assert all(part in note for part, note in zip(said, notes, strict=True))
    file.write_text("".join(json.dumps({"text": "the film", "label": n}) + "\n" for n in (0, 1)))
    told = Heard()
    read_inputs(CompressConfig(checkpoint=model, train=file, out=tmp_path / "o", max_length=64), loaded, told)
    assert not any("longer than" in note or "--max-length" in note for note in told.notes)


def test_a_question_that_is_cut_to_learn_from_is_counted(tmp_path: Path) -> None:
    """Contexts have windows, and a question has half of one at most."""
    model, file = checkpoint(tmp_path / "model", "bert", "qa"), tmp_path / "q.json"
    asked = [{"question": question, "answers": []} for question in ("who sang", "who " * 40)]
    raw = {"data": [{"paragraphs": [{"context": "the town sang " * 40, "qas": asked}]}]}
    file.write_text(json.dumps(raw))
    told = Heard()
    read_inputs(CompressConfig(checkpoint=model, calibrate=file, out=tmp_path / "o"), load_checkpoint(model), told)
    said = "1 of 2 questions is longer than half a window and is cut there to learn from; the checkpoint takes no more"
    assert f"q.json: {said}" in told.notes


def test_rows_that_teach_nothing_are_told_so(tmp_path: Path) -> None:
    """With keep 1 the model is exported as it is."""
    model, told = checkpoint(tmp_path / "model", "bert", "classification"), Heard()
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "the film", "label": 0}\n')
    read_inputs(CompressConfig(checkpoint=model, train=file, out="o", keep=1.0), load_checkpoint(model), told)
    assert any("rows.jsonl: nothing is learned from these rows, as keep 1 exports" in note for note in told.notes)


@pytest.mark.parametrize(("held", "told"), [(10, False), (11, True)])
def test_far_more_rows_to_score_with_than_to_learn_from_are_told(held: int, told: bool, tmp_path: Path) -> None:
    """The two files may be exchanged."""
    model, heard = checkpoint(tmp_path / "model", "bert", "classification"), Heard()
    train, dev = tmp_path / "rows.jsonl", tmp_path / "dev.jsonl"
    for file, count in ((train, 1), (dev, held)):
        file.write_text('{"text": "the film", "label": 0}\n' * count)
    read_inputs(CompressConfig(checkpoint=model, train=train, eval=dev, out="o"), load_checkpoint(model), heard)
    said = f"dev.jsonl: {held} rows to score with, and 1 to learn from in rows.jsonl; exchange the two"
    assert any(said in text for text in heard.warnings) is told


def test_pairs_beside_single_texts_are_told(tmp_path: Path) -> None:
    """A model is for one of the two; files that agree are not spoken of."""
    model, pairs = checkpoint(tmp_path / "model", "bert", "classification"), tmp_path / "pairs.csv"
    pairs.write_text("text1,text2,label\nthe film,was good,0\nthe town,sang,1\n")
    single = tmp_path / "rows.jsonl"
    single.write_text('{"text": "the film", "label": 0}\n')
    loaded, warned = load_checkpoint(model), []
    for held_out in (single, pairs):
        told = Heard()
        read_inputs(CompressConfig(checkpoint=model, train=pairs, eval=held_out, out="o"), loaded, told)
        warned.append([text for text in told.warnings if "a model is for one of the two" in text])
    assert [len(texts) for texts in warned] == [1, 0]
    assert "rows.jsonl holds single texts and pairs.csv pairs of texts" in warned[0][0]


def squad(folder: Path, good: int, lost: int, text: str = "city", start: int | None = 4) -> str:
    """Questions, of which some have an answer that is not where it is written to be."""
    found = {"question": "who", "answers": [{"text": "town", "answer_start": 4}]}
    gone = {"question": "who", "answers": [{"text": text, "answer_start": start}]}
    raw = {"data": [{"paragraphs": [{"context": "the town sang", "qas": [found] * good + [gone] * lost}]}]}
    (folder / "q.json").write_text(json.dumps(raw))
    return str(folder / "q.json")


def test_an_answer_without_a_place_is_never_learned_as_none(tmp_path: Path) -> None:
    """A few are left out and counted; many are refused."""
    told = Heard()
    source = reading.read(squad(tmp_path, 30, 1), QA, reading.Options(), told, labelled="--train")
    features = QA.task.encode(source, QA, WORDS, 32, told)
    assert [f.target for f in features] == [(4, 4)] * 30
    assert "1 of 31 questions are left out of the learning" in told.said[-1]
    with pytest.raises(DataError, match="3 of 33 questions have an answer that is not where the file says"):
        reading.read(squad(tmp_path, 30, 3), QA, reading.Options(), told)
    source = reading.read(squad(tmp_path, 30, 3, "n", None), QA, reading.Options(), told)
    with pytest.raises(DataError, match="the answer of 3 of 33 questions is not where the file says"):
        QA.task.encode(source, QA, WORDS, 32, told)


def test_an_answer_longer_than_a_window_is_not_learned_as_none(tmp_path: Path) -> None:
    """Refused, with the setting."""
    context = " ".join(["town"] * 40)
    question = QuestionRow("who", context, ((context, 0),), "q.json")
    source = Source("q.json", [question], [question.answers], "")
    with pytest.raises(DataError, match=r"does not fit a window of 16 tokens \(max_length\) beside the question"):
        QA.task.encode(source, QA, WORDS, 16, Heard())


def test_an_answer_between_two_windows_is_learned(tmp_path: Path) -> None:
    """Neighbouring windows share fewer tokens than it has; a window of its own holds it."""
    context = " ".join(["the"] * 8 + ["town"] * 8 + ["the"] * 8)
    question = QuestionRow("who", context, ((" ".join(["town"] * 8), context.index("town")),), "q.json")
    source, told = Source("q.json", [question] * 20, [question.answers] * 20, ""), Heard()
    features = QA.task.encode(source, QA, WORDS, 16, told)
    assert {f.row for f in features if f.target != (0, 0)} == set(range(20))
    assert told.said == []


def test_answers_that_the_model_never_gives_stop_the_work(tmp_path: Path) -> None:
    """A model of noise on questions; one that finds them goes on."""
    source = reading.read(squad(tmp_path, 30, 0), QA, reading.Options(), Heard())

    def points(token: int) -> Predict:
        def predict(batch: Sequence[Tokens]) -> list[Logits]:
            hits = [(np.array(item.ids) == token).astype(np.float32) for item in batch]
            return [np.stack([hit, hit], -1) for hit in hits]

        return predict

    found = reading.Trial(QA, SERVED, points(7), Heard()).check(source, None)
    assert found == {"labels": {"reading": "30 questions: 30 answered", "rows": 30, "f1": 100.0}}
    with pytest.raises(DataError, match=r"F1 0\.0 on 30 answered questions, which is clearly below 20"):
        reading.Trial(QA, SERVED, points(8), Heard()).check(source, None)


def test_a_row_without_a_label_is_named_before_the_work(tmp_path: Path) -> None:
    """Where one is needed."""
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "good"}\n{"text": "b"}\n')
    for purpose, said in (("--train", "--train is for labelled rows"), ("evaluation", "evaluation needs one in every")):
        with pytest.raises(DataError, match=rf"a\.jsonl:2: no label; {said}"):
            reading.read(str(tmp_path / "a.jsonl"), MOODS, reading.Options(), Heard(), labelled=purpose)
    assert reading.read(str(tmp_path / "a.jsonl"), MOODS, reading.Options(), Heard()).targets == [1, None]
    (tmp_path / "c.csv").write_text("text,label\na,good\nb,\n")
    several = Subject(TASKS["classification"], MOODS.labels, "multi_label_classification")
    with pytest.raises(DataError, match=r"c\.csv:3: no label; .*; for none of the labels write 0 for each, or \[\]"):
        reading.read(str(tmp_path / "c.csv"), several, reading.Options(), Heard(), labelled="--train")
    (tmp_path / "b.csv").write_text("text,mood\na,good\n")
    with pytest.raises(DataError, match=r"b\.csv:2: no label; .*; no row has one: --label-column names the column"):
        reading.read(str(tmp_path / "b.csv"), MOODS, reading.Options(), Heard(), labelled="--train")


@pytest.mark.parametrize("purpose", ["--train", reading.EVALUATION])
@pytest.mark.parametrize("absent", ['{"text": "b", "label": ""}', '{"text": "b"}', '{"text": "b", "label": "-"}'])
def test_a_few_rows_without_a_label_are_left_out(purpose: str, absent: str, tmp_path: Path) -> None:
    """Counted, with the first; above 5% the first is refused. Nothing is learned of them."""
    path, row = tmp_path / "a.jsonl", '{"text": "a", "label": "good"}\n'
    path.write_text(row * 12 + f"{absent}\n" + row * 7)
    told = Heard()
    found = reading.read(str(path), MOODS, reading.Options(), told, labelled=purpose)
    assert found.targets == [1] * 19
    assert {text for row in found.rows for text in row.texts} == {"a"}
    assert told.warnings == [f"a.jsonl: 1 of 20 rows is left out, as it has no label; the first is {path}:13"]
    assert "1 row has no label" in told.notes[-1]
    path.write_text(row * 12 + f"{absent}\n" * 2 + row * 7)
    with pytest.raises(DataError, match=r"a\.jsonl:13: (no label; .* at most 5% may be left out|label '-' is not)"):
        reading.read(str(path), MOODS, reading.Options(), Heard(), labelled=purpose)


def test_a_row_that_may_have_none_of_several_labels_is_not_left_out(tmp_path: Path) -> None:
    """An empty cell may mean that; a row without a number is left out."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,1\n" * 40 + "b,\n")
    several = Subject(TASKS["classification"], MOODS.labels, "multi_label_classification")
    with pytest.raises(DataError, match=r"a\.csv:42: no label; .*; for none of the labels write 0 for each, or \[\]"):
        reading.read(str(path), several, reading.Options(), Heard(), labelled="--train")
    stars = Subject(TASKS["classification"], ("stars",), "regression")
    assert reading.read(str(path), stars, reading.Options(), Heard(), labelled="--train").targets == [1.0] * 40


@pytest.mark.parametrize(
    ("given", "subject", "why"),
    [
        ({"label": "good", "score": 0.9}, MOODS, "'label', 'score' could each be the label; say --label-column"),
        ({"label": {"id": 1}}, MOODS, "the label holds an object"),
        ({"category": "sports"}, MOODS, "label 'sports' is not one of the checkpoint's"),
        ({"label": 2}, MOODS, "label 2 is not one of the checkpoint's"),
        ({"score": 3.8}, Subject(TASKS["classification"], ("LABEL_0",), None), "a label is 3.8, and the head gives"),
        ({"label": 1}, Subject(TASKS["classification"], ("a", "b", "c"), "regression"), "the head gives 3 numbers"),
        ({"label": "1"}, Subject(TASKS["classification"], ("1", "0"), None), "can be read as names or as ids"),
    ],
)
def test_labels_that_nobody_needs_and_that_cannot_be_read_are_left(
    given: dict[str, object], subject: Subject, why: str, tmp_path: Path
) -> None:
    """With a warning that says why; where the caller names them, or labels are needed, the file is refused."""
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"text": "a", **given}) + "\n")
    told, free = Heard(), reading.Options(Columns(unlabelled=True))
    found = reading.read(str(path), subject, free, told)
    assert (found.targets, [row.texts for row in found.rows]) == ([None], [("a",)])
    assert told.notes[-1] == "log.jsonl: labels are not used"
    (warning,) = told.warnings
    assert warning.startswith("log.jsonl: is read without labels, as none are needed here: ")
    assert why in warning
    assert "--label-column" in warning
    named = reading.Options(Columns(label=(next(iter(given)),), unlabelled=True))
    for options, purpose in ((named, ""), (free, "--train")):
        if options is free or "could each" not in why:
            with pytest.raises(DataError):
                reading.read(str(path), subject, options, Heard(), labelled=purpose)


def test_texts_that_cannot_be_read_are_refused_whatever_the_labels(tmp_path: Path) -> None:
    """Also where no label is needed."""
    path = tmp_path / "log.csv"
    path.write_text("text,label,score\n ,good,1\na,good,1\n")
    with pytest.raises(DataError, match=r"log\.csv:2: the text 'text' is empty"):
        reading.read(str(path), MOODS, reading.Options(Columns(unlabelled=True)), Heard())


def test_questions_take_no_columns_and_no_reading(tmp_path: Path) -> None:
    """Both are refused by name."""
    for options, said in (
        (reading.Options(Columns(text="a")), "questions have no --text-column"),
        (reading.Options(labels="ids"), "questions have no --labels"),
    ):
        with pytest.raises(DataError, match=said):
            reading.read(squad(tmp_path, 2, 0), QA, options, Heard())


def test_settings_say_how_files_are_read() -> None:
    """For calibration a label column may lack."""
    config = CompressConfig(checkpoint="c", out="o", train="t", text_column="a", label_column=("b", "c"), labels="ids")
    assert reading.options_of(config) == reading.Options(Columns("a", None, ("b", "c")), "ids")
    assert reading.options_of(config, unlabelled=True).columns.unlabelled


def test_one_output_behind_a_sigmoid_is_learned_as_a_probability(tmp_path: Path) -> None:
    """A cross-encoder that is right has no loss, whatever its scale; labels beyond 0 to 1 are refused to learn from."""
    score = Subject(TASKS["classification"], ("relevant",), None)
    logits, mask = torch.tensor([[9.0], [-9.0]]), torch.ones(2, 4, dtype=torch.bool)
    targets = torch.tensor([1.0, 0.0])
    assert score.objective.loss(logits, targets, mask) < 1e-3
    drawn = score.objective.draw(logits.repeat(50, 1), mask, torch.Generator().manual_seed(0))
    assert drawn.tolist() == [1.0, 0.0] * 50
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"text": "the film", "label": 0}\n{"text": "the town", "label": 4}\n')
    assert reading.read(str(path), score, reading.Options(), Heard(), labelled=reading.EVALUATION).targets == [0.0, 4.0]
    with pytest.raises(DataError, match=r'a label is 4, .* Write "problem_type": "regression" there'):
        reading.read(str(path), score, reading.Options(), Heard(), labelled="--train")
    number = Subject(TASKS["classification"], ("stars",), "regression")
    assert reading.read(str(path), number, reading.Options(), Heard(), labelled="--train").targets == [0.0, 4.0]
    assert number.objective.loss(logits, targets, mask) == pytest.approx(((9 - 1) ** 2 + 9**2) / 2)


def test_numbers_on_another_scale_are_refused_to_learn_from(tmp_path: Path) -> None:
    """The model would take their scale; a correlation, by which it is scored, has none."""
    stars = Subject(TASKS["classification"], ("stars",), "regression")
    path = tmp_path / "rows.jsonl"
    lines = [{"text": "good " * (n % 6) + "film", "label": 20 * (n % 6)} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = reading.read(str(path), stars, reading.Options(), Heard(), labelled="--train")

    def goods(batch: Sequence[Tokens]) -> list[Logits]:
        return [by_word([item])[0][1:] for item in batch]

    said = r"they are on another scale \(mean 50, .*\) than its own \(mean 2\.5, .* go on with --trust-labels"
    with pytest.raises(DataError, match=said):
        reading.Trial(stars, SERVED, goods, Heard()).check(found, None)
    told = Heard()
    assert not reading.Trial(stars, SERVED, goods, told, promising=True).check(None, found)
    assert not told.said


def test_answers_that_are_longer_than_a_model_gives_are_told(tmp_path: Path) -> None:
    """Where more than a few questions have no shorter one: no model can score well on them."""
    path, long = tmp_path / "rows.json", " ".join(["town"] * 16)

    def told(count: int) -> list[str]:
        """Of 20 questions, so many with long answers alone, and one with a long and a short one."""
        texts = [[long]] * count + [[long, "town"]] + [["town"]] * (19 - count)
        answers = [{"text": found, "answer_start": [0] * len(found)} for found in texts]
        path.write_text(json.dumps([{"question": "who", "context": long, "answers": found} for found in answers]))
        heard = Heard()
        reading.read(str(path), QA, reading.Options(), heard)
        return heard.warnings

    assert told(1) == []
    (said,) = told(2)
    assert "rows.json: 2 of 20 answered questions have only answers of more than 15 words" in said


@pytest.mark.parametrize("name", ["train", "calibrate", "eval", "vocabulary_text"])
def test_a_file_that_is_not_there_is_told_before_a_checkpoint_is_read(name: str, tmp_path: Path) -> None:
    """Which may take minutes, and be fetched first."""
    (tmp_path / "a.txt").write_text("a\n")
    given = {"calibrate": str(tmp_path / "a.txt"), name: str(tmp_path / "absent.tsv")}
    config = CompressConfig(checkpoint=str(tmp_path / "none"), out="o", vocabulary="used", **given)
    with pytest.raises(DataError, match=r"absent\.tsv: no such file"):
        Run.begin(config, Heard(), Workspace(tmp_path / "w"), Shared())
    with pytest.raises(DataError, match=r"absent\.tsv: no such file"):
        score(tmp_path / "none", given[name])
