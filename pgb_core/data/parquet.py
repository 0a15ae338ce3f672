"""Reads Parquet files with pyarrow: from pandas, from `datasets`, and from the hub's pages."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pgb_core.data.features import names_of, with_names
from pgb_core.data.files import refuse_other_kinds
from pgb_core.data.packed import EXTRA, LARGEST, MOST_ROWS
from pgb_core.data.rows import Record, Records
from pgb_core.data.words import shown
from pgb_core.errors import DataError

_BATCH = 64  # rows that are unpacked at once
# What pyarrow raises where a value cannot become one of Python's; a time zone that nobody knows is a KeyError.
_NOT_HELD = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)


def read_parquet(path: Path) -> Records:
    """Every row by its column. Raises DataError when pyarrow is missing, or the file is broken or too large."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{path}: is a Parquet file, which is read with the package pyarrow; {EXTRA}, or write it as .csv or .jsonl"
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            texts = _texts(file)
        # A text that many rows share is held once, and how long all of them are is known before they are copied.
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            return _records(path, file)
    except pyarrow.ArrowNotImplementedError as error:
        raise DataError(f"{path}: is packed or encrypted in a way that is not read; write it again without") from error
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        with path.open("rb") as broken:
            begins = broken.read(64)
        if not begins.startswith(b"PAR1"):
            refuse_other_kinds(path, begins)
        raise DataError(f"{path}: is not a whole Parquet file; write it again") from error


def _records(path: Path, file: Any) -> Records:
    known = file.metadata
    sizes = [known.row_group(n).total_byte_size for n in range(known.num_row_groups)]
    _refuse_large(path, known.num_rows, sum(sizes))
    columns = tuple(str(name) for name in file.schema_arrow.names)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(f"{path}: two columns are named {shown(twice[0])}; give each its own name")
    names = _class_names(file.schema_arrow.metadata or {})
    rows: list[Record] = []
    size = 0
    for batch in file.iter_batches(batch_size=_BATCH):
        size += sum(map(_unpacked, batch.columns))
        _refuse_large(path, len(rows) + batch.num_rows, size)
        start = len(rows)
        cells = [_cells(path, name, column) for name, column in zip(columns, batch.columns, strict=True)]
        values = (dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True))
        rows += [Record(with_names(raw, names), f"{path}[{start + n}]") for n, raw in enumerate(values)]
    return Records(str(path), columns, rows)


def _cells(path: Path, name: str, column: Any) -> list[object]:
    """The values of a column, decimal numbers as ordinary ones. Raises DataError that names it where Python cannot hold
    one of them.
    """
    import pyarrow

    try:
        plain = column.cast(pyarrow.float64()) if pyarrow.types.is_decimal(column.type) else column
        found: list[object] = plain.to_pylist()
    except _NOT_HELD as error:
        if isinstance(error, UnicodeDecodeError):
            said = "holds a text that is not UTF-8; write it again in UTF-8, or leave the column out"
        else:
            said = f"is of type {shown(str(column.type))} and holds a value that Python has no word for; write it as a "
            said += "text, or leave the column out"
        raise DataError(f"{path}: the column {shown(name)} {said}") from error
    return found


def _texts(file: Any) -> list[str]:
    """The columns, also those within others, whose values are of any length. A decimal number is not one of them."""
    columns = [file.schema.column(n) for n in range(len(file.schema))]
    return [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"
    ]


def _unpacked(column: Any) -> int:
    """Bytes of a column once every row has a copy of its texts, counted without copying one."""
    import pyarrow
    from pyarrow import compute

    if isinstance(column, pyarrow.DictionaryArray):
        sizes = compute.take(compute.binary_length(column.dictionary), column.indices)
        return int(column.indices.nbytes + (compute.sum(sizes).as_py() or 0))
    if isinstance(column, pyarrow.StructArray):
        return sum(map(_unpacked, column.flatten()))
    if isinstance(column, pyarrow.MapArray):  # which is a list of pairs, and does not flatten
        pairs = pyarrow.StructArray.from_arrays([column.keys, column.items], ["key", "value"])
        column = pyarrow.ListArray.from_arrays(column.offsets, pairs)
    if isinstance(column, pyarrow.ListArray | pyarrow.LargeListArray | pyarrow.FixedSizeListArray):
        return int(column.nbytes) + _unpacked(column.flatten())
    return int(column.nbytes)


def _refuse_large(path: Path, rows: int, size: int) -> None:
    if rows > MOST_ROWS or size > LARGEST:
        raise DataError(
            f"{path}: unpacks to more than {MOST_ROWS:,} rows or {LARGEST >> 20:,} MiB; split it, or take fewer rows"
        )


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of labels, which `datasets` writes into the files that it makes."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {str(column): names_of(feature) for column, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: names for column, names in found.items() if names}
