"""The Open Inference Protocol v2 with its binary extension: bytes to tensors and back. Pure.

Formats: https://github.com/kserve/open-inference-protocol and Triton's extension_binary_data.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import to_json

from service.dialects.strict import check_values, json_of, said
from service.dialects.v2.schemas import IndexRequest, InferRequest, LoadRequest, RequestInput, UnloadRequest
from service.errors import InvalidInput, Malformed, TooLarge

HEADER_LENGTH = b"inference-header-content-length"
Body = TypeVar("Body", IndexRequest, LoadRequest, UnloadRequest)
_DEEPEST = 3
_SHARED = "shared_memory_"  # what the parameters of a tensor in shared memory begin with
_AS_THEY_ARE = ("str", "np")  # what MLServer's clients call texts that are in no code such as base64


@dataclass(frozen=True)
class Asked:
    """A parsed request: texts by the name of their tensor."""

    header: InferRequest
    texts: Mapping[str, list[str]]


@dataclass(frozen=True)
class Tensor:
    """An output, [inputs, values]: numbers, or an array of objects that are texts."""

    name: str
    values: NDArray[Any]

    @property
    def datatype(self) -> str:
        """As the protocol names it."""
        return {"O": "BYTES", "f": "FP32", "i": "INT32"}[self.values.dtype.kind]

    def raw(self) -> bytes:
        """Little-endian; each text behind its length."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(b)) + b for b in (text.encode() for text in self.values.flat))
        return self.values.astype(self.values.dtype.newbyteorder("<"), copy=False).tobytes()


def parse(body: bytes, header_length: str | None, items: int) -> Asked:
    """A request's header and texts, at most `items` of a tensor. Raises Malformed, InvalidInput or TooLarge."""
    size = len(body)
    if header_length is not None:
        if not header_length.isascii() or not header_length.isdigit() or len(header_length) > 10:
            raise Malformed("Inference-Header-Content-Length is not a number")
        size = int(header_length)
        if size > len(body):
            raise Malformed("Inference-Header-Content-Length is more than the length of the body")
    check_values(body[:size], items)
    try:
        header = InferRequest.model_validate(json_of(body[:size], "request"))
    except ValidationError as error:
        raise _described(error) from None
    if len({output.name for output in header.outputs or ()}) < len(header.outputs or ()):
        raise InvalidInput("an output is asked for twice")
    if any(name.startswith(_SHARED) for output in header.outputs or () for name in output.parameters):
        raise InvalidInput("shared memory is not served; outputs are in the answer")
    rest = memoryview(body)[size:]
    texts: dict[str, list[str]] = {}
    for given in header.inputs:
        if given.name in texts:
            raise InvalidInput("two inputs have the same name")
        texts[given.name], used = _texts(given, rest, items)
        rest = rest[used:]
    if len(rest):
        raise Malformed("bytes follow the last tensor")
    return Asked(header, texts)


def parse_repository(kind: type[Body], body: bytes) -> Body:
    """What is asked of the repository; the body may be empty. Raises Malformed, InvalidInput or TooLarge."""
    check_values(body, 0)
    try:
        return kind.model_validate(json_of(body or b"{}", "request"))
    except ValidationError as error:
        raise _described(error) from None


def build(asked: InferRequest, model: str, version: str, tensors: Sequence[Tensor]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON header if binary tensors follow it."""
    wanted = {output.name: output.parameters for output in asked.outputs or ()}
    every = bool(asked.parameters.get("binary_data_output", False))
    outputs, buffers = [], []
    for tensor in tensors:
        shown: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.values.shape}
        if bool(wanted.get(tensor.name, {}).get("binary_data", every)):
            buffers.append(tensor.raw())
            shown["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            shown["data"] = tensor.values.ravel().tolist()
        outputs.append(shown)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if asked.id is not None:
        answer["id"] = asked.id
    header = to_json(answer, inf_nan_mode="null")
    return b"".join((header, *buffers)), len(header) if buffers else None


def _texts(given: RequestInput, rest: memoryview, items: int) -> tuple[list[str], int]:
    """The elements of a BYTES tensor, and how many bytes behind the header they took."""
    if given.datatype != "BYTES":
        raise InvalidInput("inputs are texts, so their datatype must be BYTES")
    if any(name.startswith(_SHARED) for name in given.parameters):
        raise InvalidInput("shared memory is not served; send the data")
    if given.parameters.get("content_type", "str") not in _AS_THEY_ARE:
        raise InvalidInput("texts are read as they are sent; leave content_type out, or make it str")
    if len(given.shape) not in (1, 2) or (len(given.shape) == 2 and given.shape[1] != 1):
        raise InvalidInput("the shape of an input must be [n] or [n, 1]")
    count = given.shape[0]
    if count > items:
        raise TooLarge(f"too many inputs in one request, at most {items} are taken")
    size = given.parameters.get("binary_data_size")
    if size is not None:
        if given.data is not None:
            raise InvalidInput("an input has both data and binary_data_size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or size > len(rest):
            raise Malformed("binary_data_size is no number of bytes, or more than were sent")
        return _unpacked(rest[:size], count), size
    if given.data is None:
        raise InvalidInput("an input has neither data nor binary_data_size")
    texts: list[str] = []
    _flatten(given.data, texts, _DEEPEST)
    if len(texts) != count:
        raise InvalidInput("an input's shape and its data have different numbers of elements")
    return texts, 0


def _unpacked(buffer: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(buffer) and len(texts) <= count:
        if at + 4 > len(buffer):
            raise Malformed("a binary tensor ends inside an element's length")
        (size,) = struct.unpack_from("<I", buffer, at)
        at += 4
        if at + size > len(buffer):
            raise Malformed("an element of a binary tensor is longer than the tensor")
        try:
            texts.append(str(buffer[at : at + size], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidInput("an element of a binary tensor is not UTF-8") from None
        at += size
    if len(texts) != count:
        raise InvalidInput("an input's shape and its data have different numbers of elements")
    return texts


def _flatten(data: list[Any], into: list[str], depth: int) -> None:
    for item in data:
        if isinstance(item, str):
            into.append(item)
        elif isinstance(item, list) and depth:
            _flatten(item, into, depth - 1)
        else:
            raise InvalidInput("the data of a BYTES tensor must be strings")


def _described(error: ValidationError) -> InvalidInput:
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    names = {"inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id", "ready"}
    place = ".".join(str(part) for part in found["loc"] if isinstance(part, int) or part in names)
    return InvalidInput(f"{place or 'request'}: {said(found)}")
