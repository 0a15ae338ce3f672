"""The demo: its texts, its table, and what it says at the end."""

import io
import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pgb_core import demo
from pgb_core.artifact import Artifact
from pgb_core.data import QuestionRow, read_data
from pgb_core.demo import passages, table
from pgb_core.demo.passages import Passages
from pgb_core.errors import ArtifactError, DataError
from tests.made import Make

Split = tuple[list[QuestionRow], list[QuestionRow]]

DATA = demo.examples_folder() / "data"
TOPIC = (
    "== A {thing}\nA {thing} of {stuff}[ stands here| lies here].\n? What is the {thing} made of? {stuff}\nIt is old.\n"
)
WORDS = "# remark\nthing: oar; tower; anvil; bell\nstuff: oak; tin; ash; lead\n"
ONE = Passages(count=1, seed=0, sentences=range(2, 3))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Questions to learn from, and those to score with."""
    return _questions(tmp_path_factory.mktemp("split"))


def test_made_texts_are_the_same_each_time(split: Split, tmp_path: Path) -> None:
    """A seed decides all of them."""
    assert _questions(tmp_path) == split


def test_enough_questions_are_held_out_beside_those_written_by_hand(split: Split) -> None:
    """600 in all, at least, and among them the 120 that were written."""
    written = {
        row.question for row in read_data(DATA / "questions.json", "questions").rows if isinstance(row, QuestionRow)
    }
    scored = split[1]
    assert len({(row.context, row.question) for row in scored}) == len(scored)
    assert written <= {row.question for row in scored}
    assert len(scored) >= 600


def test_every_answer_lies_where_it_is_said_to(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either part; those to learn from are made without answers, and with them only here."""
    assert {row.answers for row in split[0]} == {None}
    monkeypatch.setattr(demo, "LESSONS", replace(demo.LESSONS, answers=True))
    answered = _questions(tmp_path)[0]
    assert [row.question for row in answered] == [row.question for row in split[0]]
    for row in (*answered, *split[1]):
        assert row.answers
        for text, start in row.answers:
            assert start is not None
            assert text
            assert row.context[start : start + len(text)] == text


def test_no_sentence_question_or_word_is_both_learned_and_scored(split: Split) -> None:
    """Neither a wording of the templates nor a word that fills their gaps."""
    learned, scored = (
        passages.read_topics((DATA / "passages" / f"{name}.txt").read_text()) for name in ("learn", "score")
    )
    lines = [[line for topic in topics for line in topic.sentences] for topics in (learned, scored)]
    for one, other in (
        ({line.text for line in part} for part in lines),
        ({wording for line in part for wording, _ in line.questions} for part in lines),
    ):
        assert one
        assert not one & other
    words = (DATA / "passages" / "words.txt").read_text()
    even, odd = (passages.read_words(words, half) for half in (0, 1))
    assert not [pool for pool in even if set(even[pool]) & set(odd[pool])]
    assert not {row.context for row in split[0]} & {row.context for row in split[1]}


def test_gaps_are_filled_and_articles_fit() -> None:
    """One passage in full: the words, the choice of a wording, the article, the capital and the answer."""
    (found,) = passages.made(passages.read_topics(TOPIC), passages.read_words(WORDS, 0), ONE)
    (paragraph,) = found["paragraphs"]  # type: ignore[misc]
    assert paragraph["context"] in {
        f"{'An' if thing[0] in 'ao' else 'A'} {thing} of {stuff} {verb} here. It is old."
        for thing in ("oar", "anvil")
        for stuff in ("oak", "ash")
        for verb in ("stands", "lies")
    }
    (asked,) = paragraph["qas"]
    (answer,) = asked["answers"]
    assert answer["text"] in ("oak", "ash")
    assert paragraph["context"].index(answer["text"]) == answer["answer_start"]


@pytest.mark.parametrize(
    ("topic", "words", "said"),
    [
        ("== T\n? Who? {person}\n", WORDS, "does not hold its answer"),
        ("== T\nNobody is here.\n? Who? {person}\n", WORDS, "does not hold its answer"),
        ("== T\nA {person} is here.\n", WORDS, "no word is left for {person}"),
        ("== T\nA {thing}, a {thing.2} and a {thing.3}.\n", WORDS, "no word is left for {thing.3}"),
    ],
)
def test_mistakes_in_templates_are_named(topic: str, words: str, said: str) -> None:
    """A question without its answer, and a gap without a word."""
    with pytest.raises(DataError) as caught:
        passages.made(passages.read_topics(topic), passages.read_words(words, 0), ONE)
    assert said in str(caught.value)


def test_opinions_to_learn_from_are_not_those_held_out(tmp_path: Path) -> None:
    """They have no labels."""
    learn, score = demo.split_rows(demo.EXAMPLES[0], tmp_path)
    learned, scored = ([json.loads(line) for line in path.read_text().splitlines()] for path in (learn, score))
    assert [*learned[0]] == ["text"]
    assert not {row["text"] for row in learned} & {row["text"] for row in scored}
    assert len(learned) == len(scored) == 200


@pytest.mark.parametrize("scale", [0.1, 12.0])
def test_the_table_fits_80_columns_and_shows_the_best_dense_form(make: Make, scale: float) -> None:
    """Nothing is cut, on a fast machine and on a slow one."""
    artifacts = [(measured(make(), "sentiment", scale), "accuracy"), (measured(make(), "answers", scale), "f1")]
    console = Console(width=table.WIDTH, file=io.StringIO(), record=True)
    console.print(table.compared(artifacts))
    console.print(table.NOTE, highlight=False)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("openvino-int8, 24 MB") == 2
    assert text.count("acc. 81.5") == text.count("F1 93.5") == 1
    assert f"{1.8 * scale:.1f}, {2.1 * scale:.1f}" in text
    assert "1.1x 0.9-1.3" in text


def test_an_artifact_of_somebody_s_own_is_not_replaced(make: Make, tmp_path: Path) -> None:
    """The examples of the documentation have the names of the demo's models."""
    shutil.copytree(make("bert", "classification").path, tmp_path / "sentiment")
    with pytest.raises(ArtifactError, match="sentiment: holds an artifact that the demo did not make"):
        demo.prepare(tmp_path)


def test_the_calls_are_a_page_two_requests_and_a_line_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    """Each as a shell takes it, and the line of Python as Python does."""
    demo.print_calls("127.0.0.1", 8123, Path("it's/answers"))
    said = capsys.readouterr().out
    assert "http://127.0.0.1:8123/ui" in said
    lines = [shlex.split(line) for line in said.splitlines() if line.startswith("  ")]
    assert [line[0] for line in lines[:-1]] == ["curl", "curl"]
    for line in lines[:-1]:
        assert json.loads(line[-1])["model"] in ("sentiment", "answers")
    compile(lines[-1][-1], "said", "exec")
    assert json.dumps(str(Path("it's/answers").resolve())) in lines[-1][-1]  # the other terminal may be elsewhere


@pytest.mark.parametrize(("host", "said"), [("::", "localhost"), ("0.0.0.0", "localhost"), ("::1", "[::1]")])  # noqa: S104
def test_the_calls_ask_an_address_that_clients_take(host: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one that means all of this machine, and brackets around colons."""
    demo.print_calls(host, 8123, Path("answers"))
    assert f"Open http://{said}:8123/ui" in capsys.readouterr().out


def measured(artifact: Artifact, name: str, scale: float) -> Artifact:
    """The artifact as if it had been timed, in times of so many of a usual machine's."""
    own = tuple(artifact.manifest.forms)
    times = {"dense fp32": 5.4, "dense openvino-int8": 1.8, **dict.fromkeys(own, 1.6)}

    def row(batch: int, tokens: int, times: Mapping[str, float]) -> dict[str, object]:
        more = batch * tokens / 32 * scale
        return {
            "batch": batch,
            "tokens": tokens,
            "median": {form: time * more for form, time in times.items()},
            "p90": {form: time * more * 7 / 6 for form, time in times.items()},
            "fastest_dense": "dense openvino-int8",
            "speedup": {form: 1.8 / time for form, time in times.items()},
            "speedup_range": {form: [1.8 / time - 0.2, 1.8 / time + 0.2] for form, time in times.items()},
        }

    speed = {
        "rows": [row(*shape, times) for shape in demo.SHAPES],
        "bytes": dict.fromkeys(times, 24000000.0),
    }
    scores = {"dense": {"accuracy": 0.815, "f1": 93.5}, "compressed": {"accuracy": 0.81, "f1": 93.1}}
    forms = {form: replace(record, measured={}) for form, record in artifact.manifest.forms.items()}
    changed = replace(artifact.manifest, name=name, forms=forms, measured={"speed": speed, "accuracy": scores})
    return replace(artifact, manifest=changed)


def _questions(folder: Path) -> Split:
    learn, score = (read_data(path, "questions").rows for path in demo.split_rows(demo.EXAMPLES[1], folder))
    return [replace(row, where="") for row in learn if isinstance(row, QuestionRow)], [
        replace(row, where="") for row in score if isinstance(row, QuestionRow)
    ]
