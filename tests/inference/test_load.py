"""An artifact in this process, without a server: it answers what the server answers."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import pgb_core
from pgb_core import artifact
from pgb_core.errors import ArtifactError
from pgb_core.export.forms import FORMS
from pgb_core.inference.batches import run_all
from pgb_core.inference.choose import choose
from pgb_core.inference.errors import EmptyInput, InferenceError, InvalidInput, RuntimeUnavailable, WrongTask
from pgb_core.inference.load import Loaded
from pgb_core.inference.runtimes.onnx_runtime import OnnxRuntime
from pgb_core.inference.runtimes.registry import RUNTIMES
from pgb_core.inference.tasks import TASKS
from pgb_core.inference.tasks.classification import Labelling
from pgb_core.inference.tasks.qa import Options, Question, Windowing
from pgb_core.inference.tokens import Tokens
from service.errors import ServiceError, told
from tests.made import rewritten

PAGE = Path(__file__).parents[2] / "docs" / "runtimes.md"
TEXTS = ["the film was dull", "a", "", "the town sang a song and the film was very good " * 9, "good film"]
CONTEXT = "the film was very good and the town sang a song. " * 6


@pytest.mark.parametrize("options", [Labelling(), Labelling("sigmoid", 1), Labelling("none", side="left")])
def test_labels_are_those_of_the_service(loaded: tuple[Loaded, Loaded], client: TestClient, options: Labelling) -> None:
    """Of texts and pairs, short, long and empty, each with every option that both have."""
    texts = [text for text in TEXTS if text]
    inputs = [*texts, ("the film", texts[3])]
    body = [*texts, {"text": "the film", "pair": texts[3]}]
    found = loaded[0].classify(inputs, options)
    given = {"inputs": body, "activation": options.activation, "top_k": options.top_k}
    if options.side is None:
        wanted = client.post("/v1/classify", json=given).json()["results"]
    else:
        wanted = [
            client.post(
                "/predict",
                json={"inputs": text, "raw_scores": True, "truncate": True, "truncation_direction": "left"},
            ).json()
            for text in texts
        ]
        found = found[: len(texts)]
    assert [[s.label for s in row] for row in found] == [[s["label"] for s in row] for row in wanted]
    for row, expected in zip(found, wanted, strict=True):
        assert [s.score for s in row] == pytest.approx([s["score"] for s in expected], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "windowing"),
    [
        (Options(), Windowing()),
        (Options(3, 4, True), Windowing(32, 8)),
        (Options(2, align_to_words=False), Windowing(24)),
    ],
)
def test_answers_are_those_of_the_service(
    loaded: tuple[Loaded, Loaded], client: TestClient, options: Options, windowing: Windowing
) -> None:
    """Of one window or several, by default and with every option."""
    asked = {**vars(options), **vars(windowing), "question": "who sang ", "context": CONTEXT}
    reply = client.post("/v1/answer", json={name: value for name, value in asked.items() if value is not None})
    (wanted,) = reply.json()["results"]
    found = loaded[1].answer("who sang ", CONTEXT, options, windowing)
    assert [(a.text, a.start, a.end) for a in found] == [(a["answer"], a["start"], a["end"]) for a in wanted]
    assert [a.score for a in found] == pytest.approx([a["score"] for a in wanted], abs=1e-5)


def test_many_questions_have_the_answers_of_each(loaded: tuple[Loaded, Loaded]) -> None:
    """Whatever runs in one batch with it."""
    questions = [Question("who sang", CONTEXT[:size]) for size in (40, 280, 90)]
    found = loaded[1].answers(questions)
    for question, answers in zip(questions, found, strict=True):
        (alone,) = loaded[1].answer(question.question, question.context)
        assert [(a.text, a.start) for a in answers] == [(alone.text, alone.start)]
        assert answers[0].score == pytest.approx(alone.score, abs=1e-5)


def test_there_may_be_more_texts_than_a_request_may_have(loaded: tuple[Loaded, Loaded]) -> None:
    """They are tokenised some at a time."""
    texts = ["the film was dull " * 60] * 1500
    assert sum(map(len, texts)) > 1_100_000
    found = loaded[0].classify(texts, Labelling(top_k=1))
    assert len({row[0].label for row in found}) == 1


@pytest.mark.parametrize(
    ("ask", "error", "says"),
    [
        (lambda c, q: q.classify(["a"]), WrongTask, "this model is for qa, not for classification"),
        (lambda c, q: c.answer("who", "a"), WrongTask, "this model is for classification, not for qa"),
        (lambda c, q: c.classify([]), EmptyInput, "there is no input"),
        (lambda c, q: c.classify("dull"), InvalidInput, "put it into one"),
        (lambda c, q: c.classify(["a"], Labelling("tanh")), InvalidInput, "one of softmax, sigmoid, none"),
        (lambda c, q: c.classify(["a"], Labelling(side="both")), InvalidInput, "one of right, left"),
        (lambda c, q: c.classify(["a"], Labelling(top_k=0)), InvalidInput, "at least 1"),
        (lambda c, q: c.classify(["a"], {"top_k": 1}), InvalidInput, "options are a Labelling; make one of them"),
        (lambda c, q: q.answer("who", "a", Labelling()), InvalidInput, "options are Options; make one of them"),
        (lambda c, q: q.answer("who", "a", Options(0)), InvalidInput, "at least 1"),
        (lambda c, q: q.answer("who", "a", Options(1, 0)), InvalidInput, "at least 1 token"),
        (lambda c, q: q.answer("who", "a", Options(), Windowing(0)), InvalidInput, "at least 1 token"),
        (lambda c, q: q.answer("who", "a", Options(), Windowing(None, -1)), InvalidInput, "stride must be 0 or more"),
        (lambda c, q: c.classify(["a", None]), InvalidInput, "neither a text nor a pair of texts"),
        (lambda c, q: c.classify([("a", "b", "c")]), InvalidInput, "neither a text nor a pair of texts"),
        (lambda c, q: q.answers([("who", "a")]), InvalidInput, "an item is no Question"),
        (lambda c, q: q.answer("who", None), InvalidInput, "a question or a context is not a text"),
        (lambda c, q: c.classify(["\ud800"]), InvalidInput, "half of a surrogate pair"),
        (lambda c, q: c.classify(TEXTS, Labelling(truncate=False)), InvalidInput, "more than 64 tokens"),
        (lambda c, q: q.answer(" ", "a"), EmptyInput, "a question or a context is empty"),
        (lambda c, q: q.answer("who", "a", Options(), Windowing(16, 16)), InvalidInput, "lower the stride"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    loaded: tuple[Loaded, Loaded], ask: object, error: type[InferenceError], says: str
) -> None:
    """In the words that the service has for it."""
    with pytest.raises(error, match=says):
        ask(*loaded)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ({"form": "fp32", "runtime": "magic"}, "there is no runtime magic; choose one of auto, onnxruntime, openvino"),
        ({"form": "fp8"}, "carries no form fp8, only fp32, int8; choose one of these"),
        ({"runtime": "magic"}, "there is no runtime magic; choose one of auto, onnxruntime, openvino, torch"),
        ({"threads": -1}, "threads must be a whole number from 0 to 1024"),
        ({"threads": 10**9}, "threads must be a whole number from 0 to 1024"),
        ({"threads": 1.5}, "threads must be a whole number from 0 to 1024"),
        ({"device": "tpu"}, "there is no device tpu; choose one of auto, cpu, cuda"),
        ({"form": "fp32", "device": "cuda:0"}, "there is no device cuda:0; choose one of auto, cpu, cuda"),
    ],
)
def test_what_no_runtime_is_or_does_is_refused(artifacts: tuple[Path, Path], place: dict[str, Any], says: str) -> None:
    """With what there is."""
    with pytest.raises(RuntimeUnavailable, match=says):
        pgb_core.load(artifacts[0], **place)


def test_what_gives_its_items_once_is_read_as_a_list_is(loaded: tuple[Loaded, Loaded]) -> None:
    """Texts of a generator, and questions."""
    assert loaded[0].classify(text for text in TEXTS) == loaded[0].classify(TEXTS)  # type: ignore[arg-type]
    asked = [Question("who sang", CONTEXT), Question("who", CONTEXT)]
    assert loaded[1].answers(q for q in asked) == loaded[1].answers(asked)  # type: ignore[arg-type]


def test_a_model_is_closed_once_and_says_so(artifacts: tuple[Path, Path]) -> None:
    """A second time does nothing, and what is asked afterwards is refused."""
    with pgb_core.load(artifacts[0], "fp32", threads=1) as model:
        model.close()
    model.close()
    with pytest.raises(RuntimeUnavailable, match="is closed; load it again"):
        model("a film")


def test_several_threads_get_the_answers_of_their_own_texts(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that keeps one request, as OpenVINO's does, gives one thread the answers of another otherwise."""
    with pgb_core.load(artifacts[0], "fp32", threads=1) as model:
        run = model.runtime.run
        request: list[Sequence[Tokens]] = [[]]

        def reused(batch: Sequence[Tokens]) -> list[NDArray[np.float32]]:
            request[0] = batch
            time.sleep(0.001)
            return run(request[0])

        monkeypatch.setattr(model.runtime, "run", reused)
        texts = [text for text in TEXTS if text] * 10
        wanted = [model(text) for text in texts]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(model, texts)) == wanted


def test_a_model_that_is_closed_meanwhile_says_so(
    artifacts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that were prepared before another thread closed it are not given to a runtime that is gone."""
    with pgb_core.load(artifacts[0], "fp32", threads=1) as model:
        prepared = model.tokenizer.texts

        def closing(*asked: Any) -> Any:
            model.close()
            return prepared(*asked)

        monkeypatch.setattr(model.tokenizer, "texts", closing)
        with pytest.raises(RuntimeUnavailable, match="is closed; load it again"):
            model("a film")


def test_a_tokenizer_that_cannot_be_read_here_is_refused(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one with a part that the installed library does not know; the runtime is given back."""
    whole = artifact.open_artifact(artifacts[0])
    spec = json.loads(whole.tokenizer.read_text("utf-8")) | {"pre_tokenizer": {"type": "OfTomorrow"}}
    other = rewritten(whole, tmp_path / "other", {artifact.TOKENIZER: json.dumps(spec).encode()})
    closed: list[OnnxRuntime] = []

    def close(runtime: OnnxRuntime) -> None:
        closed.append(runtime)

    monkeypatch.setattr(OnnxRuntime, "close", close)
    with pytest.raises(ArtifactError, match=r"tokenizer.json is not read by tokenizers [\d.]+.*; upgrade tokenizers"):
        pgb_core.load(other.path, "fp32", threads=1)
    assert len(closed) == 1


def test_what_is_no_artifact_is_refused(tmp_path: Path) -> None:
    """As everywhere."""
    with pytest.raises(ArtifactError, match="no manifest"):
        pgb_core.load(tmp_path)


def test_the_example_of_the_documentation_runs(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands, where the two artifacts lie under the names that it has for them."""
    for name, path in zip(("sentiment", "answers"), artifacts, strict=True):
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    exec(example, {})  # noqa: S102 - our own page


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_is_documented_with_what_it_takes(name: str) -> None:
    """In the rows of the table that begin with its name."""
    rows = "".join(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| `{name}`"))
    entry = RUNTIMES[name]
    assert [word for word in entry.devices if word != "auto" and word not in rows] == []
    assert not entry.extra or entry.installed_by in rows


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_documented_with_what_it_is(name: str) -> None:
    """In the first row that begins with its name: file, runtimes, devices and numbers."""
    row, *_ = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    form = FORMS[name]
    file = artifact.WEIGHTS if form.build is None else artifact.graph_name(name)
    words = [f"`{file}`", *(f"`{runtime}`" for runtime in form.runtimes), *form.devices, form.numbers]
    assert [word for word in words if word not in row] == []


@pytest.mark.parametrize("name", FORMS)
def test_the_tolerance_of_every_form_is_documented(name: str) -> None:
    """In a table of its own."""
    rows = re.findall(rf"^\| [^|\n]*`{name}`[^|\n]* \| ([\d.]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert list(map(float, rows)) == [FORMS[name].tolerance]


class Lengths:
    """A runtime whose logits are the first token of each input; it keeps the lengths of every batch."""

    device, threads = "cpu", 1

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def run(self, batch: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """See `Runtime`."""
        self.batches.append([len(tokens) for tokens in batch])
        return [np.array(tokens.ids[:1], np.float32) for tokens in batch]

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is held."""


@given(lengths=st.lists(st.integers(1, 40), max_size=60), most=st.integers(1, 120))
def test_batches_hold_no_more_than_they_may_and_results_keep_their_order(lengths: list[int], most: int) -> None:
    """Every input runs once; one that is longer than a batch may be runs alone; as few batches as that allows."""
    runtime, heard = Lengths(), []
    found = run_all(runtime.run, [Tokens([n] * size, [0] * size) for n, size in enumerate(lengths)], most, heard.append)
    assert [int(row[0]) for row in found] == list(range(len(lengths)))
    assert sorted(size for batch in runtime.batches for size in batch) == sorted(lengths)
    assert all(len(batch) == 1 or len(batch) * max(batch) <= most for batch in runtime.batches)
    assert all((len(one) + 1) * other[0] > most for one, other in pairwise(runtime.batches))
    assert heard == [len(batch) for batch in runtime.batches]


def test_tasks_are_those_that_a_manifest_may_have() -> None:
    """With as many outputs."""
    assert {name: len(task.outputs) for name, task in TASKS.items()} == artifact.OUTPUTS
    assert tuple(TASKS) == artifact.TASKS


def test_the_service_has_a_word_for_everything_that_inference_refuses() -> None:
    """The message stays."""

    def below(kind: type[InferenceError]) -> Iterator[type[InferenceError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    for kind in below(InferenceError):
        answer = told(kind("it is so"))
        assert isinstance(answer, ServiceError)
        assert str(answer) == "it is so"


def test_all_that_is_refused_is_of_the_kind_that_the_page_names(
    loaded: tuple[Loaded, Loaded], artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    """By load, by what it returns, and by module: one class catches it."""
    (named,) = re.findall(r"refuse is a `([\w.]+)\.(\w+)`", PAGE.read_text())
    kind = getattr(import_module(named[0]), named[1])
    for refused in (
        *(lambda: pgb_core.load(tmp_path / "none"), lambda: pgb_core.module(tmp_path / "none")),
        *(lambda: pgb_core.module(artifacts[0]), lambda: pgb_core.load("hf://none")),
        *(lambda: pgb_core.load(artifacts[0], "none"), lambda: pgb_core.load(artifacts[0], device="none")),
        *(lambda: loaded[0](["a", ""], top_k=0), lambda: loaded[0]([]), lambda: loaded[1].classify(["a"])),
    ):
        with pytest.raises(kind):
            refused()


def test_a_text_of_any_length_is_read_where_nobody_else_waits(artifacts: tuple[Path, Path]) -> None:
    """The bound on one request is the service's."""
    with pgb_core.load(artifacts[0]) as model:
        (scores,) = model.classify(["a" * 1_200_000])
    assert len(scores) == 2


def test_an_artifact_that_is_replaced_while_it_is_opened_is_refused(
    artifacts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokenizer and labels may be of one model, and its graph of another."""
    folder, loading = tmp_path / "mood", import_module("pgb_core.inference.load")
    shutil.copytree(artifacts[0], folder)
    closed: list[object] = []

    def replaced(*asked: Any) -> Any:
        chosen = choose(*asked)
        monkeypatch.setattr(chosen.runtime, "close", lambda: closed.append(chosen), raising=False)
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"name"', ' "name"', 1))
        return chosen

    monkeypatch.setattr(loading, "choose", replaced)
    with pytest.raises(ArtifactError, match="was replaced while it was read; open it again"):
        loading.load(folder)
    assert len(closed) == 1
