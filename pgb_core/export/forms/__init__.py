"""The forms of a model, one file for each. To add one: a file, and a line in `FORMS` here and in `options`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx

from pgb_core.export.forms.base import Build, Form, Limits
from pgb_core.export.forms.channels_first import channels_first
from pgb_core.export.forms.fused import fused
from pgb_core.export.forms.half import float16
from pgb_core.export.forms.int8 import Int8
from pgb_core.export.forms.openvino import OpenVino, OpenVinoInt8
from pgb_core.export.forms.token_major import token_major
from pgb_core.export.ranges import Ranges
from pgb_core.inference.runtimes.registry import installed
from pgb_core.model.encoder import Encoder
from pgb_core.options import FORMS as NUMBERS


def rangeless(build: Callable[[Encoder], onnx.ModelProto]) -> Build:
    """A builder for a form whose numbers need no ranges."""

    def from_model(model: Encoder, ranges: Ranges) -> onnx.ModelProto:
        return build(model)

    return from_model


def gpu(model: Encoder) -> onnx.ModelProto:
    """Batched products in float16."""
    return float16(channels_first(model, "gpu"))


def fused_half(model: Encoder) -> onnx.ModelProto:
    """The dense baseline in float16."""
    return float16(fused(model))


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("fp32", rangeless(channels_first), NUMBERS["fp32"], ("onnxruntime", "openvino"), ("cpu", "cuda")),
        Form(
            "int8", partial(token_major, kind=Int8), NUMBERS["int8"], ("onnxruntime",), tolerance=0.03, limits=Limits()
        ),
        Form(
            "openvino",
            partial(token_major, kind=OpenVino),
            NUMBERS["openvino"],
            ("openvino",),
            tolerance=0.1,
            limits=Limits(),
        ),
        Form(
            "openvino-int8",
            partial(token_major, kind=OpenVinoInt8),
            NUMBERS["openvino-int8"],
            ("openvino",),
            tolerance=0.1,
            limits=Limits(),
        ),
        Form(
            "gpu",
            rangeless(gpu),
            NUMBERS["gpu"],
            ("onnxruntime",),
            ("cuda", "cpu"),
            tolerance=0.05,
            limits=Limits(),
            dense=("cuda",),
        ),
        Form("torch", None, NUMBERS["torch"], ("torch",), ("cpu", "cuda"), dense=("cuda",)),
        Form(
            "torch-bf16",
            None,
            NUMBERS["torch-bf16"],
            ("torch",),
            ("cpu", "cuda"),
            tolerance=0.15,
            limits=Limits(),
            dense=("cuda",),
        ),
    )
}

# Of a dense model alone, to compare with.
FUSED = {
    form.name: form
    for form in (
        Form("fused", rangeless(fused), "float32", ("onnxruntime",), ("cpu", "cuda"), dense=("cpu", "cuda")),
        Form("fused-fp16", rangeless(fused_half), "float16", ("onnxruntime",), ("cuda", "cpu"), dense=("cuda",)),
    )
}


def form_of(name: str) -> Form:
    """The form of that name."""
    return {**FORMS, **FUSED}[name]


def runtime_here(name: str) -> bool:
    """Whether the usual runtime of a form is installed."""
    return installed(form_of(name).runtimes[0])


__all__ = ["FORMS", "FUSED", "Form", "Limits", "channels_first", "form_of", "fused", "runtime_here", "token_major"]
