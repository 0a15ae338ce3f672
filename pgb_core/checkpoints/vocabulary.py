"""Takes tokens out of a tokenizer file so that every text can still be read.

A token that goes is written by smaller ones from then on. For that, every token of a single character stays, and so
does what leads to the tokens that are in use:

- WordPiece takes the longest piece first. Where every character of every piece is a piece of its own, at the beginning
  of a word and within it as it is used there, the search for a next piece never fails where it did not fail before.
- BPE begins with single characters, so its unknown characters are the same. A merge stays if the token that it makes
  stays, and so do both of its parts. Merges that are applied to a text in use are all among these, in their order.
- Unigram takes the likeliest pieces. A character that is a piece is never unknown. The score of an unknown character
  follows from the lowest score, so a piece that has it stays.

Texts in use keep their pieces. Every other text has an unknown token exactly where it had one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from pgb_core.errors import CheckpointError

KINDS = ("WordPiece", "BPE", "Unigram")
_PROCESSORS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_REMEDY = "leave --vocabulary used out"

Spec = Mapping[str, Any]  # the content of a tokenizer.json


def check(spec: Spec) -> None:
    """Raises CheckpointError when tokens cannot be taken out of this tokenizer."""
    model = spec["model"]
    kind = model.get("type")
    if kind not in KINDS:
        raise CheckpointError(
            f"the tokenizer is of the kind {kind}, which cannot write a token that goes by smaller ones; {_REMEDY}"
        )
    for processor in _processors(spec.get("post_processor")):
        if processor["type"] not in _PROCESSORS:
            raise CheckpointError(f"the tokenizer's {processor['type']} cannot be given other ids; {_REMEDY}")
    if kind == "BPE":
        for name in ("continuing_subword_prefix", "end_of_word_suffix", "ignore_merges"):
            if model.get(name):
                raise CheckpointError(f"the tokenizer's BPE sets {name}, and is then not trimmed; {_REMEDY}")
        return
    missing = next(_missing(spec), None)
    if missing is not None:
        piece, character = missing
        raise CheckpointError(
            f"the tokenizer has the piece {piece!r} and no piece {character!r}, so smaller pieces could not write it; "
            f"{_REMEDY}"
        )


def ids_of(spec: Spec) -> set[int]:
    """The ids that have a token."""
    return {n for _, n in _pieces(spec["model"])} | {token["id"] for token in spec.get("added_tokens") or ()}


def kept_ids(spec: Spec, seen: Set[int]) -> set[int]:
    """The ids that stay: those that were seen, and what must not go. spec: as `check` has passed it."""
    model = spec["model"]
    pieces = list(_pieces(model))
    kept = {*seen, *(token["id"] for token in spec.get("added_tokens") or ()), *_processed(spec)}
    kept |= {n for piece, n in pieces if len(_core(model, piece)) == 1 or len(piece) == 1 or _is_byte(model, piece)}
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        kept |= {scores.index(min(scores)), *([] if model.get("unk_id") is None else [model["unk_id"]])}
        return kept
    kept |= {n for piece, n in pieces if piece == model.get("unk_token")}
    return _with_parts(model, kept) if model["type"] == "BPE" else kept


def renumbered(spec: Spec, new: Mapping[int, int]) -> dict[str, Any]:
    """The file with those tokens alone that have a new id. new: the new id by the old one."""
    model, added = spec["model"], spec.get("added_tokens") or ()
    if model["type"] == "Unigram":
        unknown = model.get("unk_id")
        vocabulary = [entry for n, entry in enumerate(model["vocab"]) if n in new]
        changed = {**model, "vocab": vocabulary, "unk_id": None if unknown is None else new[unknown]}
    else:
        changed = {**model, "vocab": {piece: new[n] for piece, n in model["vocab"].items() if n in new}}
    if model["type"] == "BPE":
        changed["merges"] = [pair for pair in _merges(model) if "".join(pair) in changed["vocab"]]
    return {
        **spec,
        "model": changed,
        "added_tokens": [{**token, "id": new[token["id"]]} for token in added],
        "post_processor": _processor(spec.get("post_processor"), new),
    }


def _pieces(model: Spec) -> Iterator[tuple[str, int]]:
    """The tokens of a model with their ids."""
    if model["type"] == "Unigram":
        yield from ((piece, n) for n, (piece, _) in enumerate(model["vocab"]))
    else:
        yield from model["vocab"].items()


def _core(model: Spec, piece: str) -> str:
    """A piece without the mark that says that it continues a word."""
    mark = model.get("continuing_subword_prefix") or ""
    return piece[len(mark) :] if mark and piece.startswith(mark) and len(piece) > len(mark) else piece


def _is_byte(model: Spec, piece: str) -> bool:
    return bool(model.get("byte_fallback")) and _BYTE.fullmatch(piece) is not None


def _missing(spec: Spec) -> Iterator[tuple[str, str]]:
    """Pieces with the piece of one character that would be needed to write them without it, and that is not there."""
    model = spec["model"]
    mark = model.get("continuing_subword_prefix") or ""
    known = {piece for piece, _ in _pieces(model)}
    special = {token["content"] for token in spec.get("added_tokens") or ()} | {model.get("unk_token")}
    for piece, n in _pieces(model):
        if piece in special or n == model.get("unk_id") or _is_byte(model, piece):
            continue
        core = _core(model, piece)
        for place, character in enumerate(core):
            needed = character if place == 0 and core == piece else mark + character
            if needed not in known:
                yield piece, needed


def _merges(model: Spec) -> list[list[str]]:
    return [pair.split(" ") if isinstance(pair, str) else list(pair) for pair in model["merges"]]


def _with_parts(model: Spec, kept: set[int]) -> set[int]:
    """The ids with those of all parts of which merges make their tokens."""
    ids: Mapping[str, int] = model["vocab"]
    parts: dict[str, list[str]] = {}
    for pair in _merges(model):
        parts.setdefault("".join(pair), []).extend(pair)
    waiting = [piece for piece, n in ids.items() if n in kept]
    found = set(kept)
    while waiting:
        for part in parts.get(waiting.pop(), ()):
            if ids[part] not in found:
                found.add(ids[part])
                waiting.append(part)
    return found


def _processors(processor: Spec | None) -> Iterator[Spec]:
    """The post-processors of which one consists."""
    if processor is None:
        return
    if processor["type"] != "Sequence":
        yield processor
        return
    for each in processor["processors"]:
        yield from _processors(each)


def _processed(spec: Spec) -> set[int]:
    """The ids that post-processors add."""
    found: set[int] = set()
    for processor in _processors(spec.get("post_processor")):
        found |= {processor[name][1] for name in ("cls", "sep") if name in processor}
        found |= {n for token in processor.get("special_tokens", {}).values() for n in token["ids"]}
    return found


def _processor(processor: Spec | None, new: Mapping[int, int]) -> dict[str, Any] | None:
    """A post-processor with the new ids."""
    if processor is None:
        return None
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_processor(each, new) for each in processor["processors"]]}
    changed = dict(processor)
    for name in ("cls", "sep"):
        if name in processor:
            changed[name] = [processor[name][0], new[processor[name][1]]]
    if "special_tokens" in processor:
        changed["special_tokens"] = {
            name: {**token, "ids": _new(token["ids"], new)} for name, token in processor["special_tokens"].items()
        }
    return changed


def _new(ids: Sequence[int], new: Mapping[int, int]) -> list[int]:
    return [new[n] for n in ids]
