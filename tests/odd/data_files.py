"""Odd data files, one a seed: what tools and people write, damaged in every way that we know of.

`make(seed)` is pure. Each file comes with the rows and targets that its maker meant, or None where the damage leaves
nothing that one could mean; nothing here knows how the product reads files.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

try:
    import pyarrow
    from pyarrow import parquet
except ImportError:  # the optional extra `data`
    pyarrow = None

WORDS = [
    "film",
    "dull",
    "good",
    "été",
    "naïve",
    "東京",
    "🙂",
    "it's",
    "the",
    "a",
    "town",
    "sang",
    "ﬁne",
    "e\u0301",
    "x=1",
]
NAMES = {
    2: (("negative", "positive"), ("no", "yes"), ("LABEL_0", "LABEL_1"), ("0", "1"), ("1", "0"), ("false", "true")),
    3: (("a", "b", "c"), ("Us", "us", "them"), ("-1", "0", "1"), ("LABEL_0", "LABEL_1", "LABEL_2")),
    5: (("1", "2", "3", "4", "5"), ("joy", "anger", "fear", "love", "none")),
}

HEADERS = [
    ("text", "text_pair", "label"),
    ("sentence1", "sentence2", "label"),
    ("premise", "hypothesis", "gold_label"),
    ("sentence", None, "label"),
    ("review", None, "sentiment"),
    ("Text", None, "LABEL"),
    ("spalte", None, "wert"),
]

Meant = list[tuple[str, str | None, object]]


@dataclass
class OddFile:
    """A file as it is, how it is asked to be read, the head, and what was meant.

    rows: (text, pair, target) or (question, context, answers); None where the maker does not know. Answers are texts
    with places, a place of None standing for one that the context does not settle. refused: nothing can be meant.
    """

    name: str
    content: bytes | None  # None: a directory
    task: str
    labels: tuple[str, ...] = ()
    problem: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    rows: Meant | None = None
    refused: bool = False


def make(seed: int) -> OddFile:
    """The file of a seed."""
    r = random.Random(seed)  # noqa: S311
    kind = r.choice([_classes, _classes, _classes, _many, _numbers, _squad, _squad, _wreck])
    made: OddFile = kind(r)
    if made.content is not None and r.random() < 0.35:
        r.choice(DAMAGES if not made.name.endswith((".parquet", ".gz", ".zip")) else LOST)(made, r)
    if kind is not _wreck and not made.name.endswith(".parquet") and r.random() < 0.2:
        _pack(made, r)
    return made


def _pack(made: OddFile, r: random.Random) -> None:
    """Pack the file; now and then what is packed is not whole."""
    assert made.content is not None
    ending = r.choice(["gz", "bz2", "xz", "zip"])
    content = made.content
    if ending == "zip":
        made.content = _zipped({made.name: content})
    else:
        packers: dict[str, Callable[[bytes], bytes]] = {"gz": _gzipped, "bz2": bz2.compress, "xz": lzma.compress}
        made.content = packers[ending](content)
    made.name = f"{made.name}.{ending}"
    if r.random() < 0.2:
        made.content = made.content[: r.randint(1, len(made.content) - 1)]
        made.rows, made.refused = None, True


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@cache
def _bomb() -> bytes:
    return _gzipped(b"text,label\n" + b"a" * (1 << 25) + b",0\n")


def _text(r: random.Random) -> str:
    text = " ".join(r.choice(WORDS) for _ in range(r.randint(1, 8)))
    return r.choice([text, text, text, f'{text} "so" he said', f"{text}, and; more", f"'{text}'"])


def _classes(r: random.Random) -> OddFile:
    """A head that picks one label; labels in one of the ways people write them."""
    size = r.choice([2, 2, 3, 5])
    labels = r.choice(NAMES[size])
    form = r.choice(["names", "names", "ids", "ids", "float ids", "bool", "upper", "mixed", "out of range", "blank"])
    count = r.randint(1, 12)
    targets: list[int | None] = [r.randrange(size) for _ in range(count)]
    written: list[object] = []
    sure, refused = True, False
    for n, target in enumerate(targets):
        assert target is not None
        if form == "names":
            written.append(labels[target])
        elif form == "upper":
            written.append(labels[target].upper())
        elif form == "ids":
            written.append(target)
        elif form == "float ids":
            written.append(float(target))
        elif form == "bool":
            written.append(bool(target % 2))
            targets[n] = target % 2
            sure, refused = size == 2, size != 2
        elif form == "mixed":
            written.append(r.choice([labels[target], target]))
            sure = not labels[0].lstrip("-").isdecimal()  # else nobody can know
        elif form == "out of range":
            written.append(target if n else r.choice([size, size + 7, -1, 0.5, 10**30, "maybe", "nan"]))
            sure, refused = False, written[0] != -1 and str(written[0]) not in labels
        else:
            blank = r.random() < 0.3
            written.append(None if blank else labels[target])
            targets[n] = None if blank else target
    made = _rows_file(r, labels, None, written, targets if sure else None, form)
    made.refused = refused
    return made


def _many(r: random.Random) -> OddFile:
    labels = r.choice(NAMES[3] + NAMES[5])
    hot = [[r.randrange(2) for _ in labels] for _ in range(r.randint(1, 10))]
    form = r.choice(["vector", "text vector", "names", "ids", "flags", "bool vector"])
    chosen = [[n for n, value in enumerate(row) if value] for row in hot]
    written: list[object]
    options: dict[str, object] = {}
    if form == "vector":
        written = list(hot)
    elif form == "bool vector":
        written = [[bool(value) for value in row] for row in hot]
    elif form == "text vector":
        written = [";".join(map(str, row)) for row in hot]
    elif form == "names":
        written = [";".join(labels[n] for n in row) for row in chosen]
    elif form == "ids":
        written = [";".join(map(str, row)) for row in chosen]
    else:
        written = list(hot)
        options["columns"] = tuple(r.sample(labels, len(labels)) if r.random() < 0.5 else labels)
    targets: list[object] = [tuple(map(float, row)) for row in hot]
    if form in ("names", "ids"):  # an empty cell is no label
        targets = [target if any(target) else None for target in targets]  # type: ignore[arg-type]
    return _rows_file(r, labels, "multi_label_classification", written, targets, form, options)


def _numbers(r: random.Random) -> OddFile:
    targets: list[object] = [r.choice([r.uniform(-5, 5), r.randrange(6), 0.0, 1e-5]) for _ in range(r.randint(1, 9))]
    written: list[object] = list(targets)
    form = r.choice(["plain", "plain", "text", "comma", "nan", "infinite", "huge", "bool"])
    if form == "text":
        written = [str(value) for value in targets]
    elif form == "comma":
        written = [f"{value:.3f}".replace(".", ",") for value in targets]
    elif form != "plain":
        written[-1] = {"nan": "NaN", "infinite": "inf", "huge": "1e999", "bool": "true"}[form]
    meant = targets if form in ("plain", "text") else None
    made = _rows_file(r, ("score",), "regression", written, meant, form)
    made.refused = meant is None
    return made


def _rows_file(
    r: random.Random,
    labels: tuple[str, ...],
    problem: str | None,
    written: list[object],
    targets: list[object] | list[int | None] | None,
    form: str,
    options: dict[str, object] | None = None,
) -> OddFile:
    """Rows in one of the formats."""
    options = dict(options or {})
    flags = options.pop("columns", None)
    text_name, pair_name, label_name = r.choice(HEADERS)
    texts = [(_text(r), _text(r) if pair_name else None) for _ in written]
    if text_name == "spalte" or r.random() < 0.2:
        options |= {"text": text_name, "label": label_name} | ({"pair": pair_name} if pair_name else {})
    columns = [c for c in (text_name, pair_name) if c]
    if flags:
        columns += cast("tuple[str, ...]", flags)
        options |= {"text": text_name, "label": flags} | ({"pair": pair_name} if pair_name else {})
    else:
        columns.append(label_name)
    records = []
    for n, value in enumerate(written):
        record: dict[str, object] = {text_name: texts[n][0]}
        if pair_name:
            record[pair_name] = texts[n][1]
        if flags:
            record |= {name: value[labels.index(name)] for name in flags}  # type: ignore[index, attr-defined]
        else:
            record[label_name] = value
        records.append(record)
    if r.random() < 0.3:
        columns.insert(0, "id")
        records = [{"id": n, **record} for n, record in enumerate(records)]
    rows = None if targets is None else [(a, b, t) for (a, b), t in zip(texts, targets, strict=True)]
    suffix = r.choice(["csv", "tsv", "jsonl", "parquet", "json"])
    way = r.choice(list(_JSON)) if suffix == "json" else suffix
    content = _parquet(records) if way == "parquet" else None
    if way == "parquet" and content is None:
        suffix = way = "jsonl"
    if content is None:
        content = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, **_JSON}[way](columns, records)
    name = f"{form.replace(' ', '-')}.{suffix}"
    return OddFile(name, content, "classification", labels, problem, options, rows)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ";".join(str(part).lower() if isinstance(part, bool) else str(part) for part in value)
    return "" if value is None else str(value)


def _csv(columns: list[str], records: list[dict[str, object]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(record[c]) for c in columns] for record in records)
    return file.getvalue().encode()


def _tsv(columns: list[str], records: list[dict[str, object]]) -> bytes:
    lines = ["\t".join(columns)] + ["\t".join(_cell(record[c]) for c in columns) for record in records]
    return ("\n".join(lines) + "\n").encode()


def _jsonl(columns: list[str], records: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=len(record) % 2 == 0) + "\n" for record in records).encode()


def _list(columns: list[str], records: list[dict[str, object]]) -> bytes:
    return json.dumps(records, indent=len(records) % 3 or None).encode()


def _page(columns: list[str], records: list[dict[str, object]]) -> bytes:
    """As the datasets server gives them."""
    rows = [{"row_idx": n, "row": record, "truncated_cells": []} for n, record in enumerate(records)]
    features = [{"feature_idx": n, "name": name, "type": {"_type": "Value"}} for n, name in enumerate(columns)]
    return json.dumps({"features": features, "rows": rows, "num_rows_total": 9000, "partial": False}).encode()


def _by_column(columns: list[str], records: list[dict[str, object]]) -> bytes:
    """As `to_json` of pandas writes a frame."""
    table = {name: {str(n): record[name] for n, record in enumerate(records)} for name in columns}
    return json.dumps(table).encode()


def _by_index(columns: list[str], records: list[dict[str, object]]) -> bytes:
    return json.dumps({str(n): record for n, record in enumerate(records)}).encode()


def _split(columns: list[str], records: list[dict[str, object]]) -> bytes:
    data = [[record[name] for name in columns] for record in records]
    return json.dumps({"columns": columns, "index": list(range(len(data))), "data": data}).encode()


def _lists(columns: list[str], records: list[dict[str, object]]) -> bytes:
    return json.dumps({name: [record[name] for record in records] for name in columns}, indent=1).encode()


def _data(columns: list[str], records: list[dict[str, object]]) -> bytes:
    return json.dumps({"schema": {"pandas_version": "1.4.0"}, "data": records}).encode()


_JSON: dict[str, Callable[..., bytes]] = {
    "list": _list,
    "page": _page,
    "by column": _by_column,
    "by index": _by_index,
    "split": _split,
    "lists": _lists,
    "data": _data,
}


def _parquet(records: list[dict[str, object]]) -> bytes | None:
    """None where a column's values are not of one type, or pyarrow is not here."""
    if pyarrow is None:
        return None
    packed = io.BytesIO()
    try:
        parquet.write_table(pyarrow.Table.from_pylist(records), packed)
    except (pyarrow.ArrowException, OverflowError):
        return None
    return packed.getvalue()


def _squad(r: random.Random) -> OddFile:
    """Questions, whose answers are written well or in one of the ways tools write them."""
    data, rows = [], []
    said = False
    style = r.choice(["1.1", "2.0", "empty at -1", "is_impossible alone", "mixed"])
    shifts = r.choice([0.0, 0.0, 0.05, 0.5])  # the share of answers that are not where they are written to be
    wrong = answered = 0
    for a in range(r.randint(1, 3)):
        paragraphs = []
        for p in range(r.randint(1, 2)):
            words = [f"w{r.randrange(12)}" for _ in range(r.randint(3, 20))]
            context = " ".join(words)
            qas: list[dict[str, object]] = []
            for q in range(r.randint(1, 3)):
                item: dict[str, object] = {"id": r.choice([f"{a}{p}{q}", a, "same"]), "question": _text(r)}
                if style != "1.1" and r.random() < 0.4:
                    way = style if style != "mixed" else r.choice(["2.0", "empty at -1", "is_impossible alone"])
                    said |= way != "1.1"
                    if way == "2.0":
                        item |= {"answers": [], "is_impossible": True}
                    elif way == "empty at -1":
                        item |= {"answers": [{"text": "", "answer_start": -1}]}
                    else:
                        item |= {"is_impossible": True, "plausible_answers": [{"text": words[0], "answer_start": 0}]}
                    answers: list[tuple[str, int | None]] = []
                else:
                    begin = r.randrange(len(words))
                    text = " ".join(words[begin : begin + r.randint(1, 3)])
                    start = len(" ".join(words[:begin])) + bool(begin)
                    answers = [(text, start)]
                    shift = r.choice([1, -2, 400]) if r.random() < shifts else 0
                    answered += 1
                    item |= {"answers": [{"text": text, "answer_start": start + shift}]}
                    if style == "2.0":
                        item["is_impossible"] = False
                    if shift and not _settled(context, text, start + shift):
                        answers = [(text, None)]
                    elif shift and start + shift >= 0 and context.startswith(text, start + shift):
                        answers = [(text, start + shift)]  # it stands there too
                    wrong += not (start + shift >= 0 and context.startswith(text, start + shift))
                qas.append(item)
                rows.append((str(item["question"]), context, tuple(answers)))
            paragraphs.append({"context": context, "qas": qas})
        data.append({"title": f"t{a}", "paragraphs": paragraphs})
    raw: dict[str, object] = {"version": "1.1", "data": data}
    name = f"squad-{style.replace(' ', '-')}.json"
    made = OddFile(name, b"", "qa", rows=rows)  # type: ignore[arg-type]
    if wrong > max(1, 0.05 * answered):
        made.rows, made.refused = None, True
    elif r.random() < 0.3:
        _break_squad(made, raw, r)
    elif r.random() < 0.5:
        _flatten(made, raw, r)
        return made
    made.content = json.dumps(raw, indent=r.choice([None, 1])).encode()
    return made


def _flatten(made: OddFile, raw: dict[str, object], r: random.Random) -> None:
    """The same questions a row each, as the hub has them."""
    lists = r.random() < 0.7
    rows: list[dict[str, object]] = []
    for article in raw["data"]:  # type: ignore[attr-defined]
        for paragraph in article["paragraphs"]:
            for item in paragraph["qas"]:
                row = {"title": article["title"], "context": paragraph["context"], **item}
                if lists and "answers" in item:
                    row["answers"] = {key: [one[key] for one in item["answers"]] for key in ("text", "answer_start")}
                rows.append(row)
    every = list(dict.fromkeys(key for row in rows for key in row))
    way = r.choice(["jsonl", "list", "page", "data"])
    if way == "jsonl":
        made.name = f"{made.name}l"
    made.content = {"jsonl": _jsonl, **_JSON}[way](every, rows)


def _settled(context: str, text: str, written: int) -> bool:
    """Whether the text stands where it is written to, or just once."""
    places = [n for n in range(len(context)) if context.startswith(text, n)]
    return written in places or len(places) == 1


def _break_squad(made: OddFile, raw: dict[str, Any], r: random.Random) -> None:
    """Put something odd at a random place. Where it may still be read, what was meant is not known."""
    paragraph = r.choice(r.choice(raw["data"])["paragraphs"])
    item = r.choice(paragraph["qas"])
    odd: Any = r.choice([None, 3, True, [], {}, ["a"], "", " ", "\ud800x", float("nan"), 10**40])
    what = r.choice(["question", "context", "text", "start", "both", "lacks", "qas", "data", "answers", "id"])
    if what == "id":  # nothing depends on it
        del item["id"]
        return
    made.rows, made.refused = None, True
    if what == "question":
        item["question"] = odd
    elif what == "context":
        paragraph["context"] = odd
    elif what == "text":
        item["answers"] = [{"text": odd, "answer_start": 0}]
        made.refused = odd != ""
    elif what == "start":
        item["answers"] = [{"text": "w", "answer_start": odd}]
        item.pop("is_impossible", None)
        made.refused = odd is not None and (odd is True or odd != odd or not isinstance(odd, int))
    elif what == "both":
        item["is_impossible"] = True
        item["answers"] = [{"text": paragraph["context"], "answer_start": 0}]
    elif what == "lacks":
        del item["question"]
    elif what == "answers":
        item["answers"] = odd
        made.refused = odd not in (None, [])
    elif what == "qas":
        paragraph["qas"] = odd
        made.refused = odd != []
    else:
        raw["data"] = odd


def _wreck(r: random.Random) -> OddFile:
    """What is hardly a data file at all."""
    deep = r.choice([900, 5_000, 100_000])
    name, content = r.choice(
        [
            ("empty.csv", b""),
            ("empty.tsv", b"\xef\xbb\xbf"),
            ("empty.jsonl", b"\n \n"),
            ("header.csv", b"text,label\n"),
            ("header.tsv", b"text\tlabel\r\n"),
            ("folder.csv", None),
            ("twice.csv", b"text,text,label\na,b,0\n"),
            ("case.csv", b"Text,text,label\na,b,0\n"),
            ("two.csv", b"review,content,label\na,b,0\n"),
            ("labels.csv", b"text,label,score\na,0,1\n"),
            ("none.csv", b"colour,label\nred,0\n"),
            ("semicolon.csv", b"text;label\na;0\n"),
            ("nameless.csv", b"text,label\n,0\n,1\n"),
            ("array.json", b'[{"text": "a", "label": 0}]'),
            ("pretty.json", b'{\n "text": "a",\n "label": 0\n}'),
            ("deep.jsonl", b'{"text": ' + b"[" * deep + b"]" * deep + b"}\n"),
            ("deep.jsonl", b'{"a":' * deep + b"1" + b"}" * deep + b"\n"),
            ("digits.jsonl", b'{"text": "a", "label": ' + b"1" * 6_000 + b"}\n"),
            ("nan.jsonl", b'{"text": "a", "label": NaN}\n'),
            ("bomb.csv.gz", _bomb()),
            ("two.zip", _zipped({"a.csv": b"text,label\na,0\n", "b.csv": b"text,label\na,0\n"})),
            ("none.zip", _zipped({})),
            ("nothing.gz", _gzipped(b"text,label\na,0\n")),
            ("twice.csv.gz.gz", _gzipped(_gzipped(b"text,label\na,0\n"))),
            ("plain.csv.gz", b"text,label\na,0\n"),
            ("plain.csv.zip", b"text,label\na,0\n"),
            ("tar.tar.gz", _gzipped(b"text,label\na,0\n")),
            ("lengths.json", b'{"text": ["a"], "label": [0, 1]}'),
            ("cut.json", b'{"rows": [{"row": {"text": "a", "label": 0}, "truncated_cells": ["text"]}]}'),
            ("ragged.json", b'{"columns": ["text", "label"], "data": [["a"]]}'),
            ("nan.csv", b"text,label\nnan,0\n"),
            ("none.csv", b"text,label\nNone,0\n"),
            ("nan.json", b'[{"text": NaN, "label": 0}, {"text": "a", "label": 0}]'),
            ("number.jsonl", b'{"text": 3, "label": 0}\n'),
            ("list.jsonl", b'{"text": ["a", "b"], "label": 0}\n'),
            ("null.jsonl", b'{"text": null, "label": 0}\n'),
            ("odd.jsonl", b'{"text": "a", "label": {"a": 1}}\n'),
            ("odd.jsonl", b'{"text": "a", "label": [null]}\n'),
            ("odd.jsonl", b'{"text": "a", "label": [[1]]}\n'),
            ("keys.jsonl", b'{"sentence1": "a", "sentence2": "b", "label": 0}\n{"sentence1": "a", "label": 0}\n'),
            ("key.jsonl", b'{"text": "a", "text": "b", "label": 0}\n'),
            ("half.jsonl", b'{"text": "\\ud800", "label": 0}\n'),
            ("half.jsonl", b'{"text": "a", "label": "\\udc00"}\n'),
            ("half.jsonl", b'{"text": "a", "label": 0, "\\udc00": 1}\n'),
            ("scalar.jsonl", b'"text"\n3\n'),
            ("cut.jsonl", b'{"text": "a", "lab'),
            ("parquet.parquet", b"PAR1\x00\x01PAR1"),
            ("parquet.csv", b"PAR1\x00\x01PAR1"),
            ("packed.csv", b"\x1f\x8b\x08\x00\x00"),
            ("sheet.csv", b"PK\x03\x04\x00"),
            ("no-suffix", b"text,label\na,0\n"),
            ("old-mac.csv", b"text,label\ra,0\rb,1\r"),
            ("old-mac.txt", b"a\rb\rc"),
            ("utf-16.csv", "text,label\na,0\n".encode("utf-16")),
            ("latin.csv", "text,label\nété,0\n".encode("latin-1")),
            ("n\u0308ame\u202e '\".csv", b"colour\n1\n"),
            ("line\nbreak.csv", b"colour\n1\n"),
        ]
    )
    task = r.choice(["classification", "classification", "classification", "qa"])
    labels = r.choice(NAMES[2]) if task == "classification" else ()
    made = OddFile(name, content, task, labels)
    readable: dict[str, Meant] = {
        "array.json": [("a", None, 0)],
        "pretty.json": [("a", None, 0)],
        "nan.jsonl": [("a", None, None)],
    }
    if task == "classification":
        made.rows = readable.get(name)
    made.refused = made.rows is None and (task == "qa" or b'0, "\\udc00"' not in (content or b""))  # a key not read
    return made


def _crlf(made: OddFile, r: random.Random) -> None:
    assert made.content is not None
    made.content = made.content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _bom(made: OddFile, r: random.Random) -> None:
    made.content = b"\xef\xbb\xbf" + (made.content or b"")


def _mixed_ends(made: OddFile, r: random.Random) -> None:
    lines = (made.content or b"").replace(b"\r\n", b"\n").split(b"\n")
    made.content = b"".join(line + r.choice([b"\n", b"\r\n"]) for line in lines)


def _lost(change: Callable[[bytes, random.Random], bytes]) -> Callable[[OddFile, random.Random], None]:
    """A damage after which nobody can say what was meant."""

    def apply(made: OddFile, r: random.Random) -> None:
        made.content = change(made.content or b"", r)
        made.rows, made.refused = None, False

    return apply


def _at(content: bytes, r: random.Random, put: bytes, drop: int = 0) -> bytes:
    place = r.randint(0, len(content))
    return content[:place] + put + content[place + drop :]


LOST: list[Callable[[OddFile, random.Random], None]] = [
    _lost(lambda c, r: _at(c, r, b"\0")),
    _lost(lambda c, r: _at(c, r, b"\xff")),
    _lost(lambda c, r: _at(c, r, b'"')),
    _lost(lambda c, r: _at(c, r, b"\r")),
    _lost(lambda c, r: _at(c, r, b"\n")),
    _lost(lambda c, r: _at(c, r, b"\t")),
    _lost(lambda c, r: _at(c, r, b",")),
    _lost(lambda c, r: _at(c, r, b"", r.randint(1, 9))),
    _lost(lambda c, r: c[: r.randint(0, len(c))]),
    _lost(lambda c, r: c + c),
    _lost(lambda c, r: c.decode("utf-8", "replace").encode("utf-16")),
    _lost(lambda c, r: c.replace(b"0", b"\\ud800")),
]
DAMAGES = [_crlf, _bom, _mixed_ends, *LOST]
