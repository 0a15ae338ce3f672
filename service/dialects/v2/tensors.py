"""The tensors of each task: which the protocol takes and gives, and how the engine makes one of the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgb_core.artifact import SCORINGS
from pgb_core.inference.tasks.classification import CLASSIFICATION, Labelling
from pgb_core.inference.tasks.qa import QA, Options, Question, Windowing
from pgb_core.inference.tokens import Text
from service.dialects.v2.codec import Asked, Tensor
from service.engine import Engine, Target
from service.errors import InvalidInput
from service.models.model import Model
from service.observe.metrics import Call

Columns = Mapping[str, list[str]]
_SWITCHES = ("binary_data_output", "handle_impossible")
_OPTIONS = ("activation", "handle_impossible")  # each of one task


@dataclass(frozen=True)
class Signature:
    """The tensors of a task. inputs: whether each, of texts, is optional. outputs: the datatype of each. option: the
    parameter that only this task has. run: gives all outputs for the inputs of a request. Raises ServiceError."""

    inputs: Mapping[str, bool]
    outputs: Mapping[str, str]
    option: str
    run: Callable[[Engine, Call, Target, Columns, Asked], Awaitable[list[Tensor]]]


def signature_of(model: Model) -> Signature:
    """The tensors of a model."""
    return SIGNATURES[model.manifest.task]


def width(model: Model, output: str) -> int:
    """How many values an output has for each input."""
    return len(model.manifest.labels) if output == "scores" else 1


def checked(asked: Asked, signature: Signature) -> Columns:
    """The inputs of a request. Raises InvalidInput when the model has other tensors, or for a wrong parameter."""
    _check_inputs(asked, signature.inputs)
    _check_outputs(asked, signature.outputs)
    _check_parameters(asked, signature.option)
    return asked.texts


async def _classify(engine: Engine, call: Call, target: Target, columns: Columns, asked: Asked) -> list[Tensor]:
    texts: Sequence[Text] = columns["text"]
    if "text_pair" in columns:
        texts = list(zip(columns["text"], columns["text_pair"], strict=True))
    count = _best_labels(asked)
    labelling = Labelling(asked.header.parameters.get("activation"), count)
    whole = not asked.header.outputs or any(output.name == "scores" for output in asked.header.outputs)
    labels, scores = await engine.scores(call, target, texts, labelling, whole)
    best = scores.argmax(1)
    made = [
        Tensor("label", np.array([[labels[n]] for n in best], object)),
        Tensor("score", scores[np.arange(len(best)), best, None].astype(np.float32)),
    ]
    if count is None:
        return [*made, Tensor("scores", scores.astype(np.float32))]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    ranked = [[f"{scores[row, n]:f}:{n}:{labels[n]}" for n in chosen] for row, chosen in enumerate(order)]
    return [*made, Tensor("scores", np.array(ranked, object))]


async def _answer(engine: Engine, call: Call, target: Target, columns: Columns, asked: Asked) -> list[Tensor]:
    questions = [Question(q, c) for q, c in zip(columns["question"], columns["context"], strict=True)]
    impossible = asked.header.parameters.get("handle_impossible", False)
    rows = await engine.answer(call, target, questions, Windowing(), Options(handle_impossible=impossible))
    best = [row[0] if row else None for row in rows]
    return [
        Tensor("answer", np.array([[a.text if a else ""] for a in best], object)),
        Tensor("score", np.array([[a.score if a else 0.0] for a in best], np.float32)),
        Tensor("start", np.array([[a.start if a else 0] for a in best], np.int32)),
        Tensor("end", np.array([[a.end if a else 0] for a in best], np.int32)),
    ]


SIGNATURES = {
    CLASSIFICATION.name: Signature(
        inputs={"text": False, "text_pair": True},
        outputs={"label": "BYTES", "score": "FP32", "scores": "FP32"},
        option="activation",
        run=_classify,
    ),
    QA.name: Signature(
        inputs={"question": False, "context": False},
        outputs={"answer": "BYTES", "score": "FP32", "start": "INT32", "end": "INT32"},
        option="handle_impossible",
        run=_answer,
    ),
}


def _check_inputs(asked: Asked, inputs: Mapping[str, bool]) -> None:
    for name, optional in inputs.items():
        if name not in asked.texts and not optional:
            raise InvalidInput(f"input {name} is missing; the model takes {', '.join(inputs)}")
    if not set(asked.texts) <= set(inputs):
        raise InvalidInput(f"an input is unknown; the model takes {', '.join(inputs)}")
    if len({len(column) for column in asked.texts.values()}) != 1:
        raise InvalidInput("the inputs have different numbers of elements")


def _check_outputs(asked: Asked, outputs: Mapping[str, str]) -> None:
    for output in asked.header.outputs or ():
        if output.name not in outputs:
            raise InvalidInput(f"an output is unknown; the model gives {', '.join(outputs)}")
        if "classification" in output.parameters and output.name != "scores":
            raise InvalidInput("the parameter classification is only for the output scores")
    _best_labels(asked)


def _check_parameters(asked: Asked, option: str) -> None:
    for other in _OPTIONS:
        if other != option and other in asked.header.parameters:
            raise InvalidInput(f"parameter {other} has no effect on a model of this task; leave it out")
    activation = asked.header.parameters.get("activation")
    if activation is not None and activation not in SCORINGS:
        raise InvalidInput("parameter activation must be softmax, sigmoid or none")
    given = [(name, asked.header.parameters.get(name)) for name in _SWITCHES]
    given += [("binary_data", output.parameters.get("binary_data")) for output in asked.header.outputs or ()]
    for name, value in given:
        if not isinstance(value, bool | None):
            raise InvalidInput(f"parameter {name} must be true or false")


def _best_labels(asked: Asked) -> int | None:
    """How many of the best labels are asked for, in Triton's words for them. Raises InvalidInput."""
    for output in asked.header.outputs or ():
        count = output.parameters.get("classification")
        if output.name == "scores" and count is not None:
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InvalidInput("classification must be a number of labels, at least 1")
            return count
    return None
