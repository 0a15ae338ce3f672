"""Answers against those of the `question-answering` pipeline of transformers 4.57.6, on the same weights.

`record.py` wrote down what the pipeline answers. Where the two part, and why:

- Spans of probability zero are no answers here. The pipeline fills a list that runs short with them, also
  backwards ones and ones that begin before the context, in an order that depends on the processor. So a
  blank context has no answer here, and an empty one of score 0 there.
- Spans of equal score come by where they start and then end. There, their order is left to a partition.
- A window of n tokens is refused there when n x n is just the number of spans to be kept, and answered here.
- What the pipeline refuses with an exception, or the tokenizer with a panic, is `InvalidInput` here.
- A tokenizer that cuts or pads on the left is used here as one that does so on the right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgb_core import artifact, export
from pgb_core.checkpoints.load import load_checkpoint
from pgb_core.inference.errors import InvalidInput
from pgb_core.inference.runtimes.base import Setup
from pgb_core.inference.runtimes.onnx_runtime import OnnxRuntime
from pgb_core.inference.steps import all_of
from pgb_core.inference.tasks.qa import Answer, Options, best
from pgb_core.inference.tokenizer import Tokenizer
from pgb_core.inference.tokens import Window

HERE = Path(__file__).parent
LENGTH, STRIDE = 384, 128
BATCH_TOKENS = 2048
TOLERANCE = 1e-4
WRITTEN = json.loads((HERE / "cases.json").read_text("utf-8"))
RECORDED = json.loads((HERE / "recorded.json").read_text("utf-8"))
NAMES = {
    "top_k": "top_k",
    "max_answer_len": "max_answer_length",
    "handle_impossible_answer": "handle_impossible",
    "align_to_words": "align_to_words",
}


@dataclass(frozen=True)
class Asked:
    """A question in the pipeline's terms."""

    question: str
    context: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Service:
    """Tokeniser, runtime and decoding, without the line in front of them."""

    tokenizer: Tokenizer
    runtime: OnnxRuntime

    def windows(self, asked: Asked) -> list[Window]:
        """As the engine cuts them."""
        length = asked.parameters.get("max_seq_len", LENGTH)
        stride = asked.parameters.get("doc_stride", min(length // 2, STRIDE))
        return all_of(self.tokenizer.windows(asked.question, asked.context, length, stride, 256))

    def answers(self, questions: list[Asked]) -> list[list[Answer]]:
        """Windows of all questions, a few at a time by length."""
        groups = [self.windows(asked) for asked in questions]
        every = sorted((w for group in groups for w in group), key=lambda w: len(w.tokens))
        logits, batch = {}, []
        for n, window in enumerate(every):
            batch.append(window)
            if n + 1 == len(every) or (len(batch) + 1) * len(every[n + 1].tokens) > BATCH_TOKENS:
                logits |= zip(map(id, batch), self.runtime.run([w.tokens for w in batch]), strict=True)
                batch = []
        found = []
        for asked, group in zip(questions, groups, strict=True):
            options = Options(**{NAMES[name]: value for name, value in asked.parameters.items() if name in NAMES})
            found.append(all_of(best(asked.context, group, [logits[id(window)] for window in group], options)))
        return found


@pytest.fixture(scope="session")
def service(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The dense graph of the checkpoint whose answers were recorded."""
    source = shared / "models" / RECORDED["checkpoint"]["name"]
    assert _short((source / "model.safetensors").read_bytes()) == RECORDED["checkpoint"]["sha256"], "record again"
    checkpoint = load_checkpoint(source)
    proto = export.channels_first(checkpoint.model)
    manifest = artifact.Manifest(
        name="dense",
        task=checkpoint.task.name,
        architecture=checkpoint.architecture,
        labels=(),
        activation="softmax",
        max_length=checkpoint.model.config.positions,
        pad_id=checkpoint.model.config.pad_id,
        inputs=tuple(export.input_names(checkpoint.model)),
        outputs=tuple(output.name for output in proto.graph.output),
        opset=export.OPSET,
        contrib_opset=export.CONTRIB_OPSET,
        forms={"fp32": artifact.FormRecord("model.onnx", "check.json", "float32", ("onnxruntime",), ("cpu",), 1e-3)},
        weights={"kept": 1, "dense": 1},
        plan_digest="",
    )
    files = {
        artifact.MODEL: proto.SerializeToString(),
        artifact.TOKENIZER: checkpoint.tokenizer.to_str().encode(),
    }
    written = artifact.write_artifact(tmp_path_factory.mktemp("oracle") / "dense", manifest, files)
    return Service(Tokenizer.open(written.tokenizer, manifest.max_length), OnnxRuntime(written, Setup()))


def _cases(refused: bool) -> list[Any]:
    found = []
    for case in WRITTEN["cases"]:
        context = case["context"]
        if isinstance(context, list):
            context = " ".join(WRITTEN["texts"][name] for name in context)
        wanted = RECORDED["cases"][case["name"]]
        if refused == ("refused" in wanted):
            asked = Asked(case["question"], context, case.get("parameters", {}))
            found.append(pytest.param(asked, wanted, id=case["name"]))
    return found


@pytest.mark.parametrize(("asked", "wanted"), _cases(refused=False))
def test_hand_made_cases_are_answered_alike(service: Service, asked: Asked, wanted: dict[str, Any]) -> None:
    """The model reads the same windows; every answer has the same text and place, and its score within 1e-4."""
    inputs = [[list(map(int, w.tokens.ids)), list(map(int, w.tokens.types))] for w in service.windows(asked)]
    assert len(inputs) == wanted["windows"]
    assert _short(json.dumps(inputs).encode()) == wanted["inputs"]
    (found,) = service.answers([asked])
    likely = [answer for answer in wanted["answers"] if answer[3] > 0]
    assert [(a.text, a.start, a.end) for a in found] == [tuple(answer[:3]) for answer in likely]
    assert [a.score for a in found] == pytest.approx([answer[3] for answer in likely], abs=TOLERANCE)


@pytest.mark.parametrize(("asked", "wanted"), _cases(refused=True))
def test_what_the_pipeline_refuses_is_refused(service: Service, asked: Asked, wanted: dict[str, Any]) -> None:
    """Questions too long and strides too wide are invalid input."""
    with pytest.raises(InvalidInput):
        service.windows(asked)


@pytest.mark.slow
def test_a_thousand_questions_are_answered_alike(service: Service, shared: Path) -> None:
    """At least 999 have the same text and place, and all of those their score within 1e-4."""
    texts = {}
    for article in json.loads((shared / "data/squad" / RECORDED["squad"]).read_text("utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            texts |= {qa["id"]: Asked(qa["question"], paragraph["context"], {}) for qa in paragraph["qas"]}
    wanted = RECORDED["questions"]
    found = [answers[0] for answers in service.answers([texts[key] for key, *_ in wanted])]
    same = [
        (answer.start, answer.end, _short(answer.text.encode())) == (start, end, text)
        for answer, (_, start, end, _, text) in zip(found, wanted, strict=True)
    ]
    different = [row[0] for row, equal in zip(wanted, same, strict=True) if not equal]
    assert len(different) <= 0.001 * len(wanted), different
    differences = [abs(a.score - row[3]) for a, row, equal in zip(found, wanted, same, strict=True) if equal]
    assert max(differences) < TOLERANCE


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
