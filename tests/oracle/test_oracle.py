"""Answers against those of the `question-answering` pipeline of transformers 4.57.6, on the same weights.

`record.py` wrote down what the pipeline answers: on a real checkpoint of BERT's kind, and on made-up ones with the
tokenizers of RoBERTa and DistilBERT. Where the two part, and why:

- Spans of probability zero are no answers here. The pipeline fills a list that runs short with them, also
  backwards ones and ones that begin before the context, in an order that depends on the processor. So a
  blank context that has no tokens has no answer here, and an empty one of score 0 there. A likely answer of
  another window that is equal but for case takes the place of such a span there, and keeps its own here.
- Spans of equal score come by where they start and then end. There, their order is left to a partition.
- A window of n tokens is refused there when n x n is just the number of spans to be kept, and answered here.
- What the pipeline refuses with an exception, or the tokenizer with a panic, is `InvalidInput` here.
- A question of white space alone is refused here.
- Windows that are asked to be longer than the model takes are as long as it takes. There, the model fails on them.
- A list of one object is answered by a list of one. There, the answer is taken out of it.
- A tokenizer that cuts or pads on the left is used here as one that does so on the right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import pgb_core
from pgb_core.artifact import Artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.data import QuestionRow as Row
from pgb_core.export import write
from pgb_core.inference.batches import prepare_question, run_all
from pgb_core.inference.errors import EmptyInput, InvalidInput
from pgb_core.inference.load import Loaded
from pgb_core.inference.tasks.qa import Answer, Options, Question, Windowing
from pgb_core.model.surgery import apply_plan
from pgb_core.tasks.qa import answered
from service.app import create_app
from service.settings import Settings
from tests.core.planned import dense_plan
from tests.oracle import made
from tests.oracle.cases import CASES, SEVERAL, TEXTS, Case, Several

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text("utf-8"))
REAL, *MADE = RECORDED["checkpoints"]
OPTIONS = {
    "top_k": "top_k",
    "max_answer_len": "max_answer_length",
    "handle_impossible_answer": "handle_impossible",
    "align_to_words": "align_to_words",
}
WINDOWING = {"max_seq_len": "max_length", "doc_stride": "stride"}
BLANK_QUESTION, LONG_WINDOWS, LIST_OF_ONE = "blank question", "windows longer than the model", "one object in a list"
# In how many cases the pipeline fills its list with answers of probability zero.
FILLED = {REAL: 7, "roberta": 2, "roberta, prefixed": 2, "roberta, untrimmed": 2, "distilbert": 5}
# Where an answer that the pipeline found with probability zero gives its place to an equal one: there, and here.
PLACED = {("roberta, prefixed", "words behind special tokens, windows"): ([0, 1], [2, 3])}

Written = Callable[[str], Artifact]
Model = Callable[[str], Loaded]


@pytest.fixture(scope="session")
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The dense graph of a checkpoint whose answers were recorded, by its name."""

    @cache
    def get(name: str) -> Artifact:
        folder = tmp_path_factory.mktemp("oracle")
        source = folder / "checkpoint"
        if name == REAL:
            source = request.getfixturevalue("shared") / "models" / name
            digest = _short((source / "model.safetensors").read_bytes())
        else:
            digest = made.checkpoint(source, name, TEXTS)
        assert digest == RECORDED["checkpoints"][name], "record again"
        checkpoint = load_checkpoint(source)
        plan = dense_plan(checkpoint.model)
        dense = apply_plan(checkpoint.model, plan).eval()
        return write.write(folder / _served(name), write.Made(checkpoint, dense, plan, threads=1, tried=name in MADE))

    return get


@pytest.fixture(scope="session")
def model(written: Written) -> Iterator[Model]:
    """The same, opened."""
    with ExitStack() as opened:
        yield cache(lambda name: opened.enter_context(closing(pgb_core.load(written(name).path, form="fp32"))))


@pytest.fixture(scope="module")
def client(written: Written) -> Iterator[TestClient]:
    """The service with the made-up checkpoints."""
    settings = Settings(artifacts=tuple(str(written(name).path) for name in MADE), threads=1)
    with TestClient(create_app(settings)) as found:
        yield found


def _cases(checkpoints: Sequence[str], refused: bool) -> list[Any]:
    return [
        pytest.param(name, case, RECORDED["cases"][name][case.name], id=f"{name}: {case.name}")
        for name in checkpoints
        for case in CASES
        if refused == ("refused" in RECORDED["cases"][name][case.name])
        and case.name not in (BLANK_QUESTION, LONG_WINDOWS)
    ]


@pytest.mark.parametrize(("name", "case", "wanted"), _cases([REAL, *MADE], refused=False))
def test_hand_made_cases_are_answered_alike(model: Model, name: str, case: Case, wanted: dict[str, Any]) -> None:
    """The model reads the same windows; every answer has the same text and place, and as good as the same score."""
    loaded = model(name)
    windows = prepare_question(loaded.tokenizer, Question(case.question, case.context), _windowing(case))
    types = [list(map(int, window.tokens.types)) for window in windows]
    ids = [list(map(int, window.tokens.ids)) for window in windows]
    if name in MADE:
        assert not any(map(any, types))
    assert len(windows) == wanted["windows"]
    read = [[each] if name in MADE else [each, kinds] for each, kinds in zip(ids, types, strict=True)]
    assert _short(json.dumps(read).encode()) == wanted["inputs"]
    found = loaded.answer(case.question, case.context, _options(case), _windowing(case))
    assert all(answer.text == case.context[answer.start : answer.end] for answer in found)
    _alike(name, [_listed(answer) for answer in found], _placed(name, case, wanted["answers"]))


@pytest.mark.parametrize(("name", "case", "wanted"), _cases([REAL, *MADE], refused=True))
def test_what_the_pipeline_refuses_is_refused(model: Model, name: str, case: Case, wanted: dict[str, Any]) -> None:
    """Questions too long and strides too wide are invalid input."""
    with pytest.raises(InvalidInput):
        model(name).answer(case.question, case.context, _options(case), _windowing(case))


@pytest.mark.parametrize("name", [REAL, *MADE])
def test_differences_are_as_many_as_said(model: Model, name: str) -> None:
    """Beside answers of probability zero, two cases: one is refused only here, the other only there."""
    recorded, loaded = RECORDED["cases"][name], model(name)
    given = [row["answers"] for row in recorded.values() if "answers" in row]
    assert sum(any(answer[2] == 0 for answer in answers) for answers in given) == FILLED[name]
    cases = {case.name: case for case in CASES}
    blank, long = cases[BLANK_QUESTION], cases[LONG_WINDOWS]
    assert recorded[BLANK_QUESTION]["answers"]
    with pytest.raises(EmptyInput):
        loaded.answer(blank.question, blank.context)
    assert "refused" in recorded[LONG_WINDOWS]
    found = loaded.answer(long.question, long.context, _options(long), _windowing(long))
    assert found == loaded.answer(long.question, long.context, _options(long), Windowing(loaded.manifest.max_length))


@pytest.mark.parametrize("name", MADE)
def test_questions_without_an_answer_are_among_the_cases(name: str) -> None:
    """Where "no answer" may win, it does for some and does not for others."""
    allowed = [case.name for case in CASES if case.parameters.get("handle_impossible_answer")]
    firsts = [RECORDED["cases"][name][case]["answers"][0][:2] for case in allowed]
    assert 0 < firsts.count([0, 0]) < len(firsts)


@pytest.mark.parametrize("name", MADE)
def test_the_service_answers_alike(client: TestClient, name: str) -> None:
    """Over the wire, white space and all."""
    for case in CASES:
        wanted = RECORDED["cases"][name][case.name]
        asked = {"question": case.question, "context": case.context}
        reply = client.post(f"/models/{_served(name)}", json={"inputs": asked, "parameters": case.parameters})
        if case.name != LONG_WINDOWS:
            assert (reply.status_code == 422) == ("refused" in wanted or case.name == BLANK_QUESTION), case.name
        if reply.status_code == 200 and "answers" in wanted:
            found = reply.json()
            answers = found if isinstance(found, list) else [found]
            # Where no answer is possible, the pipeline fills its list with one, and this dialect has an empty one.
            given = [(each["start"], each["end"], each["score"]) for each in answers if each["score"] > 0]
            assert given or [each["answer"] for each in answers] in ([], [""])
            _alike(name, given, _placed(name, case, wanted["answers"]))


@pytest.mark.parametrize("case", SEVERAL, ids=lambda case: case.name)
@pytest.mark.parametrize("name", MADE)
def test_several_questions_are_answered_alike(client: TestClient, name: str, case: Several) -> None:
    """In one input, as lists and as objects: the same lists of the same answers."""
    wanted = RECORDED["several"][name][case.name]
    reply = client.post(f"/models/{_served(name)}", json={"inputs": case.inputs, "parameters": case.parameters})
    if "refused" in wanted:
        assert reply.status_code == 422
        return
    found = reply.json()
    if case.name == LIST_OF_ONE:
        wanted = [wanted]
    _alike_listed(name, found, wanted)


@pytest.mark.parametrize("name", MADE)
def test_evaluation_answers_alike(model: Model, name: str) -> None:
    """`pgb evaluate` scores what is served: of cases without parameters, the best answer."""
    loaded = model(name)
    cases = [case for case in CASES if not case.parameters and case.name not in (BLANK_QUESTION, LONG_WINDOWS)]
    rows = [Row(case.question, case.context, None, "") for case in cases]
    found, _ = answered(rows, loaded.tokenizer, lambda inputs: run_all(loaded.runtime.run, inputs))
    for case, text in zip(cases, found, strict=True):
        start, end, _ = RECORDED["cases"][name][case.name]["answers"][0]
        assert text == case.context[start:end]


@pytest.mark.slow
def test_a_thousand_questions_are_answered_alike(model: Model, shared: Path) -> None:
    """At least 999 have the same text and place, and all of those their score within 1e-4."""
    texts = {}
    for article in json.loads((shared / "data/squad" / RECORDED["squad"]).read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            texts |= {qa["id"]: Question(qa["question"], paragraph["context"]) for qa in paragraph["qas"]}
    wanted = RECORDED["questions"]
    found = [answers[0] for answers in model(REAL).answers([texts[key] for key, *_ in wanted])]
    same = [
        (answer.start, answer.end, _short(answer.text.encode())) == (start, end, text)
        for answer, (_, start, end, _, text) in zip(found, wanted, strict=True)
    ]
    different = [row[0] for row, equal in zip(wanted, same, strict=True) if not equal]
    assert len(different) <= 0.001 * len(wanted), different
    differences = [abs(a.score - row[3]) for a, row, equal in zip(found, wanted, same, strict=True) if equal]
    assert max(differences) < 1e-4


def _alike(name: str, found: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]]) -> None:
    """found and wanted: [start, end, score] of each answer. What the pipeline fills its list with is left out."""
    likely = [answer for answer in wanted if answer[2] > 0]
    assert [list(answer[:2]) for answer in found] == [answer[:2] for answer in likely]
    near = {"abs": 1e-4} if name == REAL else {"rel": 1e-3}
    assert [answer[2] for answer in found] == pytest.approx([answer[2] for answer in likely], **near)


def _placed(name: str, case: Case, wanted: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """What is wanted, with an answer of `PLACED` where it is found here."""
    there, here = PLACED.get((name, case.name), ([], []))
    places = [list(answer[:2]) for answer in wanted]
    if there:
        places[places.index(there)] = here
    return [[*place, answer[2]] for place, answer in zip(places, wanted, strict=True)]


def _alike_listed(name: str, found: Any, wanted: Any) -> None:
    """The same in lists of lists; a list that runs short because of what is left out keeps its place."""
    if isinstance(found, dict):
        _alike(name, [(found["start"], found["end"], found["score"])], [wanted])
    elif found and isinstance(found[0], dict) and isinstance(wanted[0][0], int):
        _alike(name, [(each["start"], each["end"], each["score"]) for each in found], wanted)
    else:
        assert len(found) == len(wanted)
        for each, other in zip(found, wanted, strict=True):
            _alike_listed(name, each, other)


def _served(name: str) -> str:
    """The name that an artifact of a checkpoint is served by."""
    return name.replace(", ", "-")


def _listed(answer: Answer) -> tuple[int, int, float]:
    return answer.start, answer.end, answer.score


def _options(case: Case) -> Options:
    return Options(**{OPTIONS[name]: value for name, value in case.parameters.items() if name in OPTIONS})


def _windowing(case: Case) -> Windowing:
    return Windowing(**{WINDOWING[name]: value for name, value in case.parameters.items() if name in WINDOWING})


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
