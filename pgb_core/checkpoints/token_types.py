"""Token types of a tokenizer file, held within those that a model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def with_types(spec: Mapping[str, Any], top: int) -> dict[str, Any]:
    """The tokenizer file with every type above `top` written as that."""
    return {**spec, "post_processor": _clamped(spec.get("post_processor"), top)}


def _clamped(processor: dict[str, Any] | None, top: int) -> dict[str, Any] | None:
    """A post-processor whose types are at most `top`."""
    if processor is None:
        # Without one, the library gives the second text of a pair type 1.
        return None if top else _template([], [], 0)
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_clamped(each, top) for each in processor["processors"]]}
    if processor["type"] == "BertProcessing" and not top:
        return _template([processor["cls"]], [processor["sep"]], top)
    if processor["type"] == "TemplateProcessing":
        return {**processor, **{name: _lowered(processor[name], top) for name in ("single", "pair")}}
    return processor


def _lowered(pieces: Sequence[Mapping[str, Any]], top: int) -> list[dict[str, Any]]:
    return [{kind: {**body, "type_id": min(body["type_id"], top)} for kind, body in piece.items()} for piece in pieces]


def _template(first: Sequence[Sequence[Any]], last: Sequence[Sequence[Any]], top: int) -> dict[str, Any]:
    """A template of [token, id] pairs around one text, and around and between two."""

    def special(tokens: Sequence[Sequence[Any]], kind: int) -> Iterator[dict[str, Any]]:
        return ({"SpecialToken": {"id": token, "type_id": kind}} for token, _ in tokens)

    single = [*special(first, 0), {"Sequence": {"id": "A", "type_id": 0}}, *special(last, 0)]
    pair = [*single, {"Sequence": {"id": "B", "type_id": min(1, top)}}, *special(last, min(1, top))]
    named = {token: {"id": token, "ids": [number], "tokens": [token]} for token, number in (*first, *last)}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": named}
