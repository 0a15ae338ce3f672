"""The v2 codec: what is written is read, and bytes that went wrong raise the declared errors and nothing else."""

import itertools
import json
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz.fuzz_v2 import parse as parse_or_complain
from benchmarks.fuzz.mutants import Request, mutants, seeds
from service.dialects.v2.codec import Tensor, build, parse, parse_repository
from service.dialects.v2.schemas import IndexRequest, InferRequest, LoadRequest, UnloadRequest
from service.errors import InvalidInput, Malformed, TooLarge

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
COLUMN = st.lists(TEXT, min_size=1, max_size=6)
WHAT_IT_RAISES = (InvalidInput, Malformed, TooLarge)


def request(columns: dict[str, tuple[list[str], bool, bool]]) -> tuple[bytes, str | None]:
    """A body and its header length, from columns of texts; whether each is binary, and whether its shape is [n, 1]."""
    inputs, buffers = [], []
    for name, (texts, binary, deep) in columns.items():
        tensor: dict[str, object] = {"name": name, "shape": [len(texts), 1] if deep else [len(texts)]}
        tensor["datatype"] = "BYTES"
        if binary:
            buffers.append(b"".join(struct.pack("<I", len(raw)) + raw for raw in map(str.encode, texts)))
            tensor["parameters"] = {"binary_data_size": len(buffers[-1])}
        else:
            tensor["data"] = [[text] for text in texts] if deep else texts
        inputs.append(tensor)
    header = json.dumps({"inputs": inputs}).encode()
    return b"".join((header, *buffers)), str(len(header)) if buffers else None


@given(st.dictionaries(TEXT, st.tuples(COLUMN, st.booleans(), st.booleans()), min_size=1, max_size=4))
def test_texts_come_out_as_they_went_in(columns: dict[str, tuple[list[str], bool, bool]]) -> None:
    """Any Unicode, JSON and binary side by side, in the order of the header."""
    asked = parse(*request(columns), 128)
    assert asked.texts == {name: texts for name, (texts, _, _) in columns.items()}


@given(COLUMN, st.integers(1, 3), st.booleans(), st.text(st.characters(codec="utf-8"), max_size=9) | st.none())
def test_an_answer_can_be_read_back(texts: list[str], width: int, binary: bool, identity: str | None) -> None:
    """Texts, floats and integers, by the lengths that the header gives."""
    tensors = [
        Tensor("label", np.array([texts] * width, object).reshape(-1, width)),
        Tensor("score", np.arange(len(texts), dtype=np.float32)[:, None] / 7),
        Tensor("start", -np.arange(len(texts), dtype=np.int32)[:, None]),
    ]
    asked = InferRequest(id=identity, parameters={"binary_data_output": binary}, inputs=[])
    body, size = build(asked, "m", "1", tensors)
    assert (size is not None) == binary
    header, rest = json.loads(body[:size]), body[size:] if size else b""
    assert header.get("id") == identity
    for tensor, shown in zip(tensors, header["outputs"], strict=True):
        assert shown["shape"] == list(tensor.values.shape)
        flat: list[object] = shown.get("data", [])
        if binary:
            raw, rest = rest[: shown["parameters"]["binary_data_size"]], rest[shown["parameters"]["binary_data_size"] :]
            flat = _read(raw, shown["datatype"])
        assert np.prod(shown["shape"]) == len(flat)
        assert flat == tensor.values.ravel().tolist()
    assert not rest


def _read(raw: bytes, datatype: str) -> list[object]:
    if datatype != "BYTES":
        return list(np.frombuffer(raw, {"FP32": "<f4", "INT32": "<i4"}[datatype]).tolist())
    found: list[object] = []
    while raw:
        size = struct.unpack_from("<I", raw)[0]
        found.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return found


def test_the_seeds_are_requests_that_are_understood() -> None:
    """Or their mutants would all fail early."""
    assert {parse_or_complain(seed) for seed in seeds()} == {"ok"}


def test_mutants_raise_the_declared_errors_and_nothing_else() -> None:
    """Every kind of outcome is reached; what is let through agrees with its header."""
    outcomes = [parse_or_complain(mutant) for mutant in itertools.islice(mutants(1), 6_000)]
    assert set(outcomes) == {"ok", "InvalidInput", "Malformed"}
    assert outcomes.count("ok") > 100


def test_null_stands_for_what_a_client_does_not_set() -> None:
    """Wherever something optional may stand; null as a parameter is a parameter that is not set."""
    plain = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    unset = dict.fromkeys(("binary_data_size", "shared_memory_region", "content_type"))
    bare, _ = request({"text": (["a"], False, False)})
    expected = parse(bare, None, 8)
    for parameters in (None, unset):
        outputs = [
            None,
            [{"name": "label", "parameters": parameters and dict.fromkeys(("classification", "binary_data"))}],
        ]
        for wanted in outputs:
            asked = {
                "id": None,
                "parameters": parameters,
                "inputs": [{**plain, "parameters": parameters}],
                "outputs": wanted,
            }
            found = parse(json.dumps(asked).encode(), None, 8)
            assert found.texts == expected.texts
            assert found.header.parameters == found.header.inputs[0].parameters == {}
            if wanted:
                assert found.header.outputs is not None
                assert found.header.outputs[0].parameters == {}
    assert parse_repository(IndexRequest, b'{"ready": null}') == IndexRequest()
    for kind in (LoadRequest, UnloadRequest):
        assert parse_repository(kind, b'{"parameters": null}') == kind()


@pytest.mark.parametrize("parameters", ["[]", '"a"', "7"])
def test_parameters_are_an_object_or_nothing(parameters: str) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidInput, match=r"^parameters: "):
        parse(b'{"inputs": [], "parameters": %s}' % parameters.encode(), None, 8)


@given(st.binary(max_size=200), st.none() | st.integers(0, 250).map(str) | st.text(max_size=12))
@settings(max_examples=300)
def test_noise_raises_the_declared_errors_and_nothing_else(body: bytes, length: str | None) -> None:
    """And so does every number for a header length."""
    with pytest.raises(WHAT_IT_RAISES):
        parse(body, length, 128)


@given(st.binary(max_size=80), st.integers(0, 12), st.integers(-2, 90))
@settings(max_examples=500)
def test_noise_behind_a_good_header_is_texts_or_a_declared_error(tail: bytes, count: int, size: int) -> None:
    """Behind it anything may stand."""
    tensor = {"name": "text", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor]}).encode()
    parse_or_complain(Request(header + tail, str(len(header))))


@pytest.mark.parametrize("shape", [[1 << 31, 1], [1 << 31], [10**18, 1], [1] * 5_000])
@pytest.mark.parametrize("binary", [True, False])
def test_memory_goes_by_what_was_sent_not_by_what_was_claimed(shape: list[int], binary: bool) -> None:
    """A shape, or a text's length, of gigabytes in a request of bytes."""
    tensor: dict[str, object] = {"name": "text", "shape": shape, "datatype": "BYTES"}
    tensor |= {"parameters": {"binary_data_size": 12}} if binary else {"data": ["the film"]}
    header = json.dumps({"inputs": [tensor]}).encode()
    tail = b"\xff\xff\xff\x7f" + b"the film" if binary else b""
    tracemalloc.start()
    try:
        with pytest.raises(WHAT_IT_RAISES):
            parse(header + tail, str(len(header)), 128)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
