"""Packed files: the same rows as unpacked, within bounds, or a refusal that says what is wrong with the file."""

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pgb_core.data import TextRow, packed, read_data
from pgb_core.errors import DataError

CONTENT = b"text,label\nfine,1\n"


def zipped(path: Path, **files: bytes) -> None:
    """An archive of these files, where _ stands for a dot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", ".", 1) if name[0] != "_" else name, content)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "rows.csv.gz": gzip.compress,
    "rows.csv.bz2": bz2.compress,
    "rows.csv.xz": lzma.compress,
    "ROWS.CSV.GZ": gzip.compress,
}


@pytest.mark.parametrize("name", PACKERS)
def test_a_packed_file_reads_as_it_is(name: str, tmp_path: Path) -> None:
    """Whatever it is packed with, and in several parts."""
    (tmp_path / name).write_bytes(PACKERS[name](CONTENT[:14]) + PACKERS[name](CONTENT[14:]))
    (row,) = read_data(tmp_path / name, "texts").rows
    assert isinstance(row, TextRow)
    assert (row.text, row.label) == ("fine", "1")
    assert row.where == f"{tmp_path / name}:2"


def test_a_zip_with_one_file_reads_as_that(tmp_path: Path) -> None:
    """By the kind of the file in it; what macOS adds is no second one."""
    zipped(tmp_path / "rows.zip", rows_csv=CONTENT, __MACOSX=b"")
    with zipfile.ZipFile(tmp_path / "rows.zip", "a") as archive:
        archive.writestr("__MACOSX/._rows.csv", b"x")
    with pytest.raises(DataError, match=r"rows\.zip: holds 2 files \(rows\.csv, __MACOSX\)"):
        read_data(tmp_path / "rows.zip", "texts")
    zipped(tmp_path / "good.zip", rows_csv=CONTENT)
    with zipfile.ZipFile(tmp_path / "good.zip", "a") as archive:
        archive.writestr("__MACOSX/._rows.csv", b"x")
    (row,) = read_data(tmp_path / "good.zip", "texts").rows
    assert isinstance(row, TextRow)
    assert row.text == "fine"
    zipped(tmp_path / "lines.zip", rows_jsonl=b'{"text": "a"}\n')
    assert len(read_data(tmp_path / "lines.zip", "texts").rows) == 1
    zipped(tmp_path / "none.zip")
    with pytest.raises(DataError, match="holds 0 files; pack one alone"):
        read_data(tmp_path / "none.zip", "texts")


def test_questions_may_be_packed(tmp_path: Path) -> None:
    """The same reading."""
    raw = b'{"data": [{"paragraphs": [{"context": "the town", "qas": [{"id": "1", "question": "who"}]}]}]}'
    (tmp_path / "q.json.gz").write_bytes(gzip.compress(raw))
    assert read_data(tmp_path / "q.json.gz", "questions").notes == ("q.json.gz: 1 question: 1 not labelled",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv.gz", gzip.compress(CONTENT)[:-9], r"a\.csv\.gz: is not a whole \.gz file; pack it again"),
        ("a.csv.gz", gzip.compress(CONTENT)[:-4] + b"....", "is not a whole .gz file"),
        ("a.csv.gz", CONTENT, "is not a whole .gz file"),
        ("a.csv.bz2", CONTENT, "is not a whole .bz2 file"),
        ("a.csv.bz2", bz2.compress(CONTENT)[:-3], "is not a whole .bz2 file"),
        ("a.csv.xz", lzma.compress(CONTENT)[:-9], "is not a whole .xz file"),
        ("a.csv.xz", CONTENT, "is not a whole .xz file"),
        ("a.zip", CONTENT, "is not a whole .zip file"),
        ("a.gz", gzip.compress(CONTENT), r"does not say what is packed in it; call it by its kind too, as a\.csv\.gz"),
        ("a.csv.gz.gz", gzip.compress(gzip.compress(CONTENT)), "is packed twice"),
        ("a.tar.gz", gzip.compress(CONTENT), "is a tar archive"),
        ("a.csv.gz", b"", "no rows"),
        ("a.csv", bz2.compress(CONTENT), "is a bzip2 file; unpack it, or end its name in .bz2"),
        ("a.csv", lzma.compress(CONTENT), "is an xz file"),
        ("a.csv", b"\x28\xb5\x2f\xfd", "is a Zstandard file"),
    ],
)
def test_what_is_not_whole_or_not_clear_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_data(tmp_path / name, "texts")


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zip"])
def test_a_bomb_is_refused_before_it_is_unpacked(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more bytes than the bound are kept: far more than its size from a small file, or more than any file has."""
    monkeypatch.setattr(packed, "_FREE", 1 << 20)
    content = b"text\n" + b"a" * (8 << 20)
    path = tmp_path / f"bomb.csv.{ending}"
    if ending == "zip":
        zipped(path, bomb_csv=content)
    else:
        path.write_bytes({"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending](content))
    with pytest.raises(DataError, match=r"unpacks to more than [0-9]+ MiB from [0-9,]+ bytes; if that is right"):
        packed.read_bytes(path)
    with pytest.raises(DataError, match="unpacks to more than"):
        read_data(path, "texts")
    monkeypatch.setattr(packed, "_FREE", 1 << 30)
    assert len(packed.read_bytes(path)) == len(content)
    monkeypatch.setattr(packed, "LARGEST", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        packed.read_bytes(path)


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size says so."""
    monkeypatch.setattr(packed, "LARGEST", 8)
    (tmp_path / "a.csv").write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"a\.csv: has more than 0 MiB; split it"):
        read_data(tmp_path / "a.csv", "texts")


def test_an_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    """By the mark in its directory."""
    zipped(tmp_path / "a.zip", rows_csv=CONTENT)
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(DataError, match="is locked with a password"):
        read_data(tmp_path / "a.zip", "texts")


def test_zstandard_needs_a_package_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra's name."""
    (tmp_path / "a.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"\.zst is read with the package pyarrow; pip install '\.\[data\]'"):
        read_data(tmp_path / "a.csv.zst", "texts")


def test_zstandard_reads_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed by pyarrow; a part of it is refused, and a bomb."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
    path = tmp_path / "a.csv.zst"
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(CONTENT)
    (row,) = read_data(path, "texts").rows
    assert isinstance(row, TextRow)
    assert row.text == "fine"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"is not a whole \.zst file"):
        read_data(path, "texts")
    monkeypatch.setattr(packed, "_FREE", 1 << 20)
    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(b"a" * (8 << 20))
    with pytest.raises(DataError, match="unpacks to more than"):
        read_data(path, "texts")
