"""The tokenizer of a checkpoint as transformers builds it, written to one file and checked for the model.

Where `tokenizer_config.json` differs from `tokenizer.json`, `AutoTokenizer` follows the former, and so did
training. The artifact has only one file, so it contains what both files say together: normaliser, prefix space, types,
length, and the side on which texts are cut. If one file cannot express a setting, the checkpoint is refused, and the
message names it.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from pgb_core.checkpoints.files import first_line, read_json, refuse_own_code, refuse_pointer
from pgb_core.checkpoints.token_types import with_types
from pgb_core.errors import CheckpointError
from pgb_core.model.encoder import EncoderConfig
from pgb_core.tasks import TASKS, Task

FILE = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
# Files of which one must be there: transformers would make up a vocabulary of five tokens without them.
VOCABULARIES = (FILE, "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
_SHORTEST = 8
_SWITCHES = (
    "do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "trim_offsets",
    "split_special_tokens",
)  # fmt: skip
_AS_FILE = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer", "PythonBackend")
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Share of words with capital letters from which a vocabulary is one of cased texts.
_CASED = 0.05
# A difference between vocabulary and table that rounding the table up to a multiple explains.
_ROUNDING = 512


@dataclass(frozen=True)
class Tokenization:
    """A tokenizer, and what belongs to it.

    top_type: the highest token type that the model is given. max_length: tokens at which an input is cut. side:
    'right' or 'left', the end that is cut. notes: facts that were read; warnings: those that a user would want to
    check. reference: transformers' own tokenizer.
    """

    tokenizer: Tokenizer
    top_type: int
    max_length: int
    side: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    reference: Any

    def file(self) -> bytes:
        """`tokenizer.json` of an artifact: it says length and side of the cut, too."""
        whole = Tokenizer.from_str(self.tokenizer.to_str())
        whole.enable_truncation(self.max_length, direction=self.side)
        return whole.to_str().encode()


def read_tokenization(folder: Path, model: EncoderConfig) -> Tokenization:
    """The tokenizer of a checkpoint, held against its model's tables. Raises CheckpointError."""
    settings = _settings(folder)
    theirs = _load(folder)
    if theirs.split_special_tokens:
        raise CheckpointError(f"{folder / SETTINGS}: split_special_tokens is set, which a tokenizer file cannot say")
    side = theirs.truncation_side
    if side == "left" and TASKS[model.task].windows:
        raise CheckpointError(
            f"{folder / SETTINGS}: truncation_side is left; windows of a context are made from its beginning, set right"
        )
    spec = json.loads(theirs.backend_tokenizer.to_str())
    if (spec.get("model") or {}).get("dropout"):
        raise CheckpointError(f"{folder / FILE}: dropout is set, so equal texts give different tokens; remove it")
    wanted = "token_type_ids" in theirs.model_input_names
    top = model.types - 1 if wanted and model.types else 0
    fitted = with_types(spec, top)
    tokenizer = Tokenizer.from_str(json.dumps(fitted))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    length, cut = _length(theirs.model_max_length, model.max_length)
    if length < max(_SHORTEST, tokenizer.num_special_tokens_to_add(True) + 2):
        own = "model_max_length" in settings
        where = f"model_max_length is {theirs.model_max_length}" if own else f"it has {model.max_length} positions"
        raise CheckpointError(f"{folder}: {where}; inputs of {length} tokens leave no room for a text, set it higher")
    other_types = fitted["post_processor"] != spec.get("post_processor")
    types = [_of_types(top, wanted, model.types)] if model.types and other_types else []
    notes = [*types, *cut, _vocabulary(tokenizer, theirs, side, length)]
    doubts = [
        *_of_other_class(type(theirs).__name__, settings.get("tokenizer_class")),
        *_fit_ids(tokenizer, model, folder),
        *_of_other_case(fitted),
    ]
    return Tokenization(tokenizer, top, length, side, tuple(notes), tuple(doubts), theirs)


def encode(reading: Tokenization, text: str, pair: str | None, task: Task) -> list[tuple[list[int], list[int]]]:
    """Ids and types as the artifact reads a text or a pair: one input, or every window over a question's context."""
    tokenizer = reading.tokenizer
    strategy = "only_second" if task.windows else "longest_first"
    tokenizer.enable_truncation(reading.max_length, strategy=strategy, direction=reading.side)
    try:
        first = _encoded(tokenizer, text, pair)
    finally:
        tokenizer.no_truncation()
    encodings = [first, *first.overflowing] if task.windows else [first]
    # The library gives the second text of all windows but the first type 1, whatever the file says.
    return [(e.ids, [min(kind, reading.top_type) for kind in e.type_ids]) for e in encodings]


def added_tokens(folder: Path) -> dict[str, int]:
    """Tokens that `tokenizer.json` adds to its vocabulary, with their ids."""
    if not (folder / FILE).is_file():
        return {}
    given = read_json(folder / FILE).get("added_tokens") or []
    return {
        token["content"]: token["id"]
        for token in given
        if isinstance(token, dict) and isinstance(token.get("content"), str) and isinstance(token.get("id"), int)
    }


def short_enough(reading: Tokenization, texts: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Those pairs of question and context whose question takes less than half of an input."""
    half = reading.max_length // 2
    return [(text, pair) for text, pair in texts if len(_encoded(reading.tokenizer, text).ids) < half]


def other_reading(folder: Path, tokenizer: Tokenizer, inputs: Sequence[tuple[str, str | None]]) -> str | None:
    """What to say when `tokenizer.json` by itself would read some of these inputs otherwise.

    Raises CheckpointError when it is a tokenizer of another kind.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        plain = Tokenizer.from_file(str(folder / FILE))
    except Exception:  # tokenizers raises bare Exception; transformers did without the file
        return f"{FILE} is no tokenizer file and was not read"
    plain.no_padding()
    plain.no_truncation()
    own, used = json.loads(plain.to_str()), json.loads(tokenizer.to_str())
    kind, taken = own["model"]["type"], used["model"]["type"]
    if kind != taken:
        raise CheckpointError(
            f"{folder / FILE}: is a {kind} tokenizer, and transformers reads it as a {taken} one; to have it read as "
            f'it is, set "tokenizer_class": "PreTrainedTokenizerFast" in {SETTINGS}'
        )
    differ = sum(_ids(plain, *each) != _ids(tokenizer, *each) for each in inputs)
    if not differ:
        return None
    parts = [name for name in ("normalizer", "pre_tokenizer", "model", "post_processor") if own[name] != used[name]]
    return (
        f"{FILE} by itself would read {differ} of {len(inputs)} probe texts otherwise "
        f"({', '.join(parts) or 'added tokens'}); transformers follows {SETTINGS} and its defaults, and so does the "
        "artifact"
    )


def _ids(tokenizer: Tokenizer, text: str, pair: str | None) -> object:
    try:
        return _encoded(tokenizer, text, pair).ids
    except CheckpointError:
        return None


def _settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json` with what is read of it of the right kind: "false" in quotes would count as true."""
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    found = read_json(path)
    refuse_own_code(path, found)
    wrong = [(name, "true or false") for name in _SWITCHES if not isinstance(found.get(name), (bool, type(None)))]
    wrong += [(name, "a text") for name in _TOKENS if not _is_token(found.get(name))]
    length = found.get("model_max_length")
    if length is not None and (isinstance(length, bool) or not isinstance(length, (int, float)) or not length >= 1):
        wrong.append(("model_max_length", "a number of tokens"))
    names = found.get("model_input_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        wrong.append(("model_input_names", "a list of names"))
    if not isinstance(found.get("added_tokens_decoder"), (dict, type(None))):
        wrong.append(("added_tokens_decoder", "an object"))
    for name, kind in wrong[:1]:
        raise CheckpointError(f"{path}: {name} must be {kind}, not {json.dumps(found[name])[:60]}; correct it")
    return found


def _is_token(value: object) -> bool:
    if isinstance(value, dict):
        value = value.get("content")
    return value is None or isinstance(value, str)


def _load(folder: Path) -> Any:
    from transformers import AutoTokenizer

    found = [name for name in VOCABULARIES if (folder / name).is_file()]
    if not found:
        raise CheckpointError(
            f"{folder}: no vocabulary ({FILE} or vocab.txt); save the tokenizer beside the weights with "
            "save_pretrained()"
        )
    if found[0].endswith(".model") and importlib.util.find_spec("sentencepiece") is None:
        raise CheckpointError(
            f"{folder}: {found[0]} is read by sentencepiece, which is not installed; pip install sentencepiece, or "
            f"save the tokenizer as {FILE} with save_pretrained()"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # whatever a damaged file leads to
        for name in found:
            refuse_pointer(folder / name)
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be loaded ({first_line(error)}); save it again with save_pretrained()"
        ) from error
    if not getattr(theirs, "is_fast", False) or not isinstance(getattr(theirs, "backend_tokenizer", None), Tokenizer):
        raise CheckpointError(
            f"{folder}: {type(theirs).__name__} is a tokenizer in Python, which an artifact cannot carry; only those "
            "of the tokenizers library are supported"
        )
    return theirs


def _of_other_class(used: str, asked: object) -> list[str]:
    """What to say where transformers reads the tokenizer by another class than its settings ask for."""
    if not isinstance(asked, str):
        return []
    # transformers 4 has two classes of each, of which the one that is read here ends in Fast, and another general one.
    general = used in ("TokenizersBackend", "PreTrainedTokenizerFast")
    if not general and used.removesuffix("Fast") != asked.removesuffix("Fast"):
        return [f"tokenizer_class is {asked}; transformers reads it by {used}"]
    if general and asked not in _AS_FILE:
        return [f"tokenizer_class {asked} is not known to transformers, which reads {FILE} as it is"]
    return []


def _length(said: float | None, most: int) -> tuple[int, list[str]]:
    """Tokens of the longest input, and what to say of it. said: where the tokenizer cuts. most: the model's limit."""
    wanted = int(said) if said is not None and said < 1 << 30 else most
    if wanted > most:
        return most, [f"model_max_length is {wanted}; inputs are cut at the model's {most} positions"]
    if wanted < most:
        return wanted, [f"model_max_length cuts inputs at {wanted} tokens; the model has {most} positions"]
    return wanted, []


def _of_types(top: int, wanted: bool, types: int) -> str:
    """What to say where types are read as others. wanted: whether the model is given any. types: that it has."""
    if wanted:
        return f"token types above {top} are read as {top}: the table has {types} row{'s' * (types > 1)}"
    return "every token is of type 0, as model_input_names does not name token_type_ids"


def _fit_ids(tokenizer: Tokenizer, model: EncoderConfig, folder: Path) -> list[str]:
    """What is doubtful about its ids. Raises CheckpointError where one of them is no row of the table."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    # Versions of transformers differ on tokens that tokenizer.json alone adds.
    for token, number in added_tokens(folder).items():
        if vocabulary.get(token, number) != number:
            raise CheckpointError(
                f"{folder / FILE}: gives the token {token!r} the id {number}, and transformers gives it "
                f"{vocabulary[token]}; write it to added_tokens_decoder in {SETTINGS}, with the id of the training"
            )
    known = [*vocabulary.items(), *added_tokens(folder).items()]
    beyond = {token: n for token, n in known if n >= model.vocab}
    for text, pair in (("", None), ("", "")):
        encoding = _encoded(tokenizer, text, pair)
        found = zip(encoding.tokens, encoding.ids, encoding.type_ids, strict=True)
        beyond |= {token: n for token, n, _ in found if n >= model.vocab}
        if model.types and any(kind >= model.types for kind in encoding.type_ids):
            raise CheckpointError(f"{folder}: the tokenizer gives a token type outside the table of {model.types}")
    if beyond:
        token, number = min(beyond.items(), key=lambda item: item[1])
        more = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
        raise CheckpointError(
            f"{folder}: the tokenizer has the token {token!r} with id {number}{more}, but the embedding table has "
            f"{model.vocab} rows; call resize_token_embeddings() before training, or remove the token"
        )
    if not 0 <= model.pad_id < model.vocab:
        raise CheckpointError(f"{folder}: pad_token_id is {model.pad_id}, outside the table of {model.vocab} rows")
    if len(vocabulary) < model.vocab - max(_ROUNDING, model.vocab // 10):
        return [
            f"the tokenizer knows {len(vocabulary)} tokens and the model {model.vocab}: is it this model's tokenizer?"
        ]
    return []


def _of_other_case(spec: Mapping[str, Any]) -> list[str]:
    """What to say where BERT's normaliser and its vocabulary contradict each other on capital letters."""
    lowers, words = (spec.get("normalizer") or {}).get("lowercase"), spec["model"].get("vocab")
    if lowers is None or not isinstance(words, Mapping):
        return []
    capital = sum(word != word.lower() for word in words if not word.startswith("["))
    if lowers and capital > _CASED * len(words):
        return [
            f"texts are put in lower case, and {capital:,} of the {len(words):,} words of the vocabulary have capital "
            "letters, so they are never read; for a model that learned from cased texts, set do_lower_case to false "
            f"in {SETTINGS}"
        ]
    if not lowers and not capital:
        return [
            "texts are not put in lower case, and no word of the vocabulary has a capital letter, so words with one "
            f"are unknown; for a model that learned from texts in lower case, set do_lower_case to true in {SETTINGS}"
        ]
    return []


def _encoded(tokenizer: Tokenizer, text: str, pair: str | None = None) -> Encoding:
    try:
        return tokenizer.encode(text) if pair is None else tokenizer.encode(text, pair)
    except BaseException as error:  # tokenizers raises bare Exception, and panics
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        raise CheckpointError(
            f"the tokenizer fails on the text {text[:30]!r} ({first_line(error)}); does it know the token for unknown "
            f"words, and is {FILE} whole?"
        ) from error


def _vocabulary(tokenizer: Tokenizer, theirs: Any, side: str, length: int) -> str:
    """One line on what was read."""
    parts = [f"{type(theirs).__name__}", f"{tokenizer.get_vocab_size(with_added_tokens=True)} tokens"]
    spec = json.loads(tokenizer.to_str())
    normalizer, before = spec.get("normalizer") or {}, spec.get("pre_tokenizer") or {}
    if "lowercase" in normalizer:
        strips = normalizer.get("strip_accents")
        parts.append("lower case" if normalizer["lowercase"] else "cased")
        parts.append("accents stripped" if (normalizer["lowercase"] if strips is None else strips) else "accents kept")
    if "add_prefix_space" in before:
        parts.append(
            "a blank is put before the first word" if before["add_prefix_space"] else "no blank is put in front"
        )
    cut = f"cut at {length} tokens" + (" on the left" if side == "left" else "")
    return f"text is read by {', '.join(parts)}; {cut}"
