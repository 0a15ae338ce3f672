"""An artifact as others open it: transformers, ONNX Runtime alone and its quantiser, Optimum; and the model card."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import transformers
from fastapi.testclient import TestClient

import pgb_core
from benchmarks import elsewhere, same_answers
from pgb_core.artifact import CARD, CONFIG, TOKENIZER_CONFIG, Artifact, open_artifact
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.errors import ArtifactError, CheckpointError
from pgb_core.export import write
from pgb_core.export.card import card, measured_anew
from pgb_core.inference.batches import prepare_texts
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Text
from pgb_core.tasks.texts import SINGLE
from service.app import create_app
from service.settings import Settings
from tests.conftest import ARCHITECTURES, TASKS
from tests.core.planned import dense_plan
from tests.core.small import checkpoint
from tests.made import Make, rewritten
from tests.odd.test_differential import texts
from tests.odd.variants import VARIANTS, Variant, build

QUESTION, CONTEXT = "who sang the song", "the town began and it sang the very good song and not a bad film"
PAIRS: list[Text] = ["the film was dull", "", "good film " * 60, ("who sang", "the town"), ("a " * 90, "the film")]


def same_ids(artifact: Artifact, inputs: list[Text]) -> None:
    """AutoTokenizer against the tokenizer of the service, on every input."""
    manifest = artifact.manifest
    theirs = transformers.AutoTokenizer.from_pretrained(artifact.path)
    wanted = prepare_texts(Tokenizer.open(artifact.tokenizer, manifest.max_length), inputs)
    for item, tokens in zip(inputs, wanted, strict=True):
        text, pair = (item, None) if isinstance(item, str) else item
        found = theirs([text], None if pair is None else [pair], truncation=True)
        assert set(found) == set(manifest.inputs)
        assert found["input_ids"][0] == list(tokens.ids)
        if "token_type_ids" in manifest.inputs:
            assert found["token_type_ids"][0] == list(tokens.types)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_reads_text_and_shape_as_the_artifact_does(make: Make, architecture: str, task: str) -> None:
    """The same ids, cut at the same length; labels, task and shape of the dense model; what was kept of it."""
    artifact = make(architecture, task)
    same_ids(artifact, PAIRS)
    manifest = artifact.manifest
    config = transformers.AutoConfig.from_pretrained(artifact.path)
    assert config.model_type == architecture
    assert [getattr(transformers, name) for name in config.architectures]
    assert config.architectures[0].endswith(
        {"classification": "SequenceClassification", "qa": "QuestionAnswering"}[task]
    )
    assert config.vocab_size == 40
    assert config.num_hidden_layers == 4
    if task == "classification":
        assert tuple(config.id2label[n] for n in range(len(manifest.labels))) == manifest.labels
        assert config.label2id == {label: n for n, label in enumerate(manifest.labels)}
    assert config.pgb["weights"] == dict(manifest.weights)
    assert config.pgb["files"] == {name: record.file for name, record in manifest.forms.items()}


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.refused is None], ids=lambda variant: variant.name)
def test_tokenizers_of_every_kind_are_read_alike(variant: Variant, tmp_path: Path) -> None:
    """Cased and not, with a blank in front, cut on the left, with tokens that were added, with other types."""
    loaded = load_checkpoint(build(variant, tmp_path / "model"))
    made = write.Made(loaded, loaded.model, dense_plan(loaded.model), tried=False)
    artifact = write.write(tmp_path / "out", made)
    found = [text if pair is None else (text, pair) for text, pair in texts(1, 30)]
    same_ids(artifact, [*SINGLE, *found])


@pytest.mark.parametrize(
    ("labels", "problem"), [(1, "regression"), (1, None), (3, "multi_label_classification"), (3, None)]
)
def test_the_problem_type_is_the_checkpoint_s(labels: int, problem: str | None, tmp_path: Path) -> None:
    """So that a pipeline makes the scores of the service of the logits."""
    source = checkpoint(tmp_path / "model", "bert", "classification", num_labels=labels, problem_type=problem)
    loaded = load_checkpoint(source)
    made = write.Made(loaded, loaded.model, dense_plan(loaded.model), tried=False)
    config = transformers.AutoConfig.from_pretrained(write.write(tmp_path / "out", made).path)
    assert (config.problem_type, config.num_labels) == (problem, labels)


def test_nothing_says_where_it_was_made(tmp_path: Path) -> None:
    """Also where the checkpoint's config.json does."""
    source = checkpoint(tmp_path / "model", "bert", "classification")
    path = source / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "_name_or_path": str(source), "note": str(source)}))
    loaded = load_checkpoint(source)
    artifact = write.write(tmp_path / "out", write.Made(loaded, loaded.model, dense_plan(loaded.model), tried=False))
    for name in (CONFIG, TOKENIZER_CONFIG, CARD):
        assert str(tmp_path) not in (artifact.path / name).read_text("utf-8")


def test_an_artifact_is_no_checkpoint(make: Make) -> None:
    """Although it has a config.json; the message says what to name."""
    with pytest.raises(CheckpointError, match="is an artifact of pgb compress; name the checkpoint"):
        load_checkpoint(make().path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_onnx_runtime_alone_gives_the_labels_of_the_service(make: Make, architecture: str) -> None:
    """With the tokenizer of transformers and the labels of config.json."""
    artifact = make(architecture)
    logits = alone(artifact, artifact.graph("fp32"), "the film was very good")
    config = transformers.AutoConfig.from_pretrained(artifact.path)
    powers = np.exp(logits[0] - logits[0].max())
    scores = {config.id2label[n]: score for n, score in enumerate((powers / powers.sum())[0].tolist())}
    with pgb_core.load(artifact.path, "fp32", threads=1) as model:
        (found,) = model.classify(["the film was very good"])
    assert scores == pytest.approx({each.label: each.score for each in found}, abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_the_graph_alone_gives_the_answers_of_the_service(make: Make, architecture: str, task: str) -> None:
    """With the rules of answers written out anew, as `benchmarks.same_answers` asks; windows too."""
    artifact = make(architecture, task)
    asked = ["the film was dull", "good film " * 60] if task == "classification" else []
    questions = [(QUESTION, CONTEXT), ("where it began", CONTEXT * 9)] if task == "qa" else []
    with pgb_core.load(artifact.path, "fp32", threads=1) as model:
        found = model(asked) if asked else model([q for q, _ in questions], [context for _, context in questions])
    wanted = [{each["label"]: each["score"] for each in row} if asked else row[0] for row in found]
    other = elsewhere.by_graph("onnxruntime", artifact.path, artifact.graph("fp32").name, asked or questions)
    told = same_answers.compared(wanted, other)
    assert (told["equal"], told["rows"]) == (2, 2), told
    assert told["largest_difference"] < 1e-5


def alone(artifact: Artifact, graph: Path, *given: str) -> list[np.ndarray[Any, Any]]:
    """Outputs of a graph for a text or a pair."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(artifact.path)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found: list[np.ndarray[Any, Any]] = session.run(None, dict(tokenizer(*given, truncation=True, return_tensors="np")))
    return found


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_the_graph_can_be_quantised_by_onnx_runtime(make: Make, architecture: str, task: str, tmp_path: Path) -> None:
    """`quantize_dynamic` takes it; what comes of it loads, is smaller, and gives nearly the same logits."""
    from onnxruntime.quantization import quantize_dynamic

    artifact = make(architecture, task)
    given = ("the film was very good",) if task == "classification" else (QUESTION, CONTEXT)
    small = tmp_path / "quantised.onnx"
    quantize_dynamic(artifact.graph("fp32"), small)
    wanted, found = alone(artifact, artifact.graph("fp32"), *given), alone(artifact, small, *given)
    assert small.stat().st_size < artifact.graph("fp32").stat().st_size
    for before, after in zip(wanted, found, strict=True):
        assert after.shape == before.shape
        assert 0 < np.abs(after - before).max() < 0.2 * np.abs(before).max()


def test_a_real_model_opens_elsewhere(shared: Path, tmp_path: Path) -> None:
    """The ids of its own vocabulary; and the labels of the graph, quantised or not, are those of a call."""
    from onnxruntime.quantization import quantize_dynamic

    loaded = load_checkpoint(shared / "models/minilm-l6-sst2")
    artifact = write.write(tmp_path / "out", write.Made(loaded, loaded.model, dense_plan(loaded.model), tried=False))
    same_ids(artifact, [*SINGLE, ("who sang?", "The town sang."), "A word. " * 400])
    quantize_dynamic(artifact.graph("fp32"), tmp_path / "quantised.onnx")
    said = ["A warm and clever film.", "It drags, and nobody will remember it.", "Not a single scene is wasted."]
    with pgb_core.load(artifact.path, "fp32", threads=1) as model:
        wanted = [row[0]["label"] for row in model(said, top_k=1)]
    assert len(set(wanted)) == 2
    for graph in (artifact.graph("fp32"), tmp_path / "quantised.onnx"):
        found = [artifact.manifest.labels[int(alone(artifact, graph, text)[0][0].argmax())] for text in said]
        assert found == wanted


@pytest.mark.filterwarnings("ignore")  # libraries of other times than NumPy's
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_optimum_gives_the_answers_of_the_service(make: Make, architecture: str, task: str) -> None:
    """By a pipeline over its models, from the directory as it is."""
    optimum = pytest.importorskip(
        "optimum.onnxruntime", reason="optimum-onnx is not installed; it needs a transformers of its own"
    )
    artifact = make(architecture, task)
    kind = "SequenceClassification" if task == "classification" else "QuestionAnswering"
    model = getattr(optimum, f"ORTModelFor{kind}").from_pretrained(artifact.path, file_name="model.onnx")
    tokenizer = transformers.AutoTokenizer.from_pretrained(artifact.path)
    with pgb_core.load(artifact.path, "fp32", threads=1) as ours:
        if task == "classification":
            asked = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
            wanted, found = ours("the film was dull"), asked(["the film was dull"])[0]
        else:
            asked = transformers.pipeline("question-answering", model=model, tokenizer=tokenizer)
            wanted, found = ours(QUESTION, CONTEXT), [asked(question=QUESTION, context=CONTEXT)]
    assert [{**row, "score": 0} for row in found] == [{**row, "score": 0} for row in wanted]
    assert [row["score"] for row in found] == pytest.approx([row["score"] for row in wanted], abs=1e-4)


def blocks(artifact: Artifact, language: str) -> Iterator[str]:
    """Of the card."""
    text = (artifact.path / CARD).read_text("utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("task", TASKS)
def test_the_calls_of_the_card_run_as_they_stand(
    make: Make, task: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python in the directory beside it, and the body of the curl line, which the service answers."""
    artifact = make("bert", task)
    monkeypatch.chdir(artifact.path.parent)
    ran = [code for code in blocks(artifact, "python") if "optimum" not in code]
    assert len(ran) == 2
    for code in ran:
        exec(code, {})  # noqa: S102 - our own card
    assert "score" in capsys.readouterr().out
    (line,) = blocks(artifact, "sh")
    words = shlex.split(line)
    with TestClient(create_app(Settings(artifacts=(str(artifact.path),), form="fp32", threads=1))) as client:
        path = words[2].removeprefix("localhost:8000")
        reply = client.post(path, content=words[-1], headers={"content-type": "application/json"})
    assert reply.status_code == 200, reply.text


def test_the_card_claims_no_training_of_a_model_that_is_unchanged(make: Make) -> None:
    """With --keep 1 the rows of --train, or of --calibrate, set the ranges of int8 forms alone."""
    given = {"train": "rows.tsv", "calibrate": "texts.txt", "eval": "dev.tsv", "keep": 1.0}
    said = card(replace(make("bert").manifest, provenance={"settings": given}), {}).decode()
    assert "| training data | `rows.tsv` |\n| calibration data | `texts.txt` |\n| evaluation data | `dev.tsv` |" in said
    assert not re.search("finetuned on|compensated on", said)


def test_the_card_says_what_was_measured(make: Make, tmp_path: Path) -> None:
    """Of every form, beside the dense model; speed once it is measured; the digest stays."""
    forms = dict(make("bert", form="int8").manifest.forms)
    measured = {"accuracy": {"dense": {"accuracy": 0.915, "f1": None}, "compressed": {"accuracy": 0.9}, "rows": 321}}
    before = rewritten(make("bert", form="int8"), tmp_path / "small", {}, measured=measured, forms=forms)
    speed = {
        "rows": [{"batch": 1, "tokens": 32, "milliseconds": {"dense fp32": 5.13, "int8": 1.46}}],
        "threads": 2,
        "machine": {"cpu": "A | B", "instruction_sets": ["avx2"], "system": "Linux x86_64"},
    }
    after = measured_anew(before.path, {"speed": speed})
    assert open_artifact(before.path).manifest == after.manifest
    assert after.manifest.measured == {**measured, "speed": speed}
    assert after.manifest.digest == before.manifest.digest
    said = (after.path / CARD).read_text("utf-8")
    size = after.graph("int8").stat().st_size / 1e6
    assert said.startswith("---\nlibrary_name: pgb-serve\npipeline_tag: text-classification\n")
    for line in (
        "| dense, PyTorch | 0.915 | not defined |",
        "On the 321 rows of the evaluation.",
        "| 1 x 32 | 5.1 | 1.5 |",
        "on 2 threads of A \N{PRIME} B (avx2), Linux x86_64.",
        f"| `int8` | `model-int8.onnx` | {size:.1f} MB | int8 | onnxruntime on cpu |",
    ):
        assert line in said


WHOLE = {"accuracy": {"dense": {"f1": 1.0}, "compressed": {"f1": 1.0}, "rows": 3}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"measured": {"accuracy": 3}}, "measured.accuracy"),
        ({"measured": {"accuracy": {"dense": {}}}}, "measured.accuracy"),
        ({"measured": {**WHOLE, "stage_accuracy": {"dense": {"f1": 1.0}}}}, "measured.stage_accuracy"),
        ({"measured": {"speed": {"rows": []}}}, "measured.speed"),
        ({"measured": {"vocabulary": {"tokens": 5}}}, "measured.vocabulary"),
        ({"measured": {"stages": {"plan": 3}}}, "measured.stages"),
        ({"provenance": {"settings": ["x"]}}, "provenance.settings"),
    ],
)
def test_the_card_names_a_field_that_somebody_edited(changes: dict[str, object], field: str, make: Make) -> None:
    """Where it is no longer what was written."""
    manifest = replace(make().manifest, **changes)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=rf"manifest: {field} is not as pgb compress writes it; correct it"):
        card(manifest, {})


def test_the_card_names_a_form_that_somebody_edited(make: Make) -> None:
    """As for what it lost, so for where it ran."""
    forms = make().manifest.forms
    for odd in ({"measured": {"equal_answers": 0.5}}, {"ran": {"runtime": "onnxruntime 1"}}):
        edited = {**forms, "fp32": replace(forms["fp32"], **odd)}  # type: ignore[arg-type]
        with pytest.raises(ArtifactError, match="manifest: ran or measured of a form is not as pgb compress writes"):
            card(replace(make().manifest, forms=edited), {})


def test_the_card_says_of_a_form_that_scores_better_that_it_gained(make: Make) -> None:
    """No loss below nothing."""
    manifest = make().manifest
    for drop, said in ((-1.0, "1.00 points gained"), (0.25, "0.25 points lost"), (-0.001, "0.00 points lost")):
        form = replace(manifest.forms["fp32"], measured={"equal_answers": 0.5, "inputs": 8, "drop": drop})
        assert f"50.0% of 8 answers the same, {said}" in card(replace(manifest, forms={"fp32": form}), {}).decode()


def test_text_from_elsewhere_cannot_shape_the_card(make: Make, tmp_path: Path) -> None:
    """Labels and names hold what they like; tables stay tables, and no link or tag comes of it."""
    odd = ("a|b\n# Title", "`<img src=x>` [x](y)")
    made = rewritten(make(), tmp_path / "small", {}, labels=odd)
    said = (measured_anew(made.path, {}).path / CARD).read_text("utf-8")
    assert "\n# Title" not in said
    assert "<img" not in said
    assert "[x](" not in said
    (row,) = [line for line in said.splitlines() if line.startswith("| labels |")]
    assert row.count("|") == 3
