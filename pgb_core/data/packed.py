"""Reads a file, unpacked if its name ends in .gz, .bz2, .xz, .zst or .zip, up to a limit on its size."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pgb_core.artifact import UNFETCHED, is_pointer
from pgb_core.data.words import counted, plain, some
from pgb_core.errors import DataError

LARGEST = 1 << 31  # bytes of one file, unpacked
MOST_ROWS = 20_000_000  # of one file or dataset
EXTRA = "pip install '.[data]' in a clone of pgb-serve"
_TIMES = 200  # how much larger than its file a content may be; text packs to a tenth or a twentieth
_FREE = 1 << 24  # bytes from which that counts
_CHUNK = 1 << 20


def holds(path: Path) -> str:
    """The ending that says what a file holds, in lower case: '.csv' of a.csv, of a.CSV.gz, and of a .zip with a.csv.

    Raises DataError when the name of a packed file does not say it.
    """
    packing = path.suffix.lower()
    if packing not in _OPENERS:
        return packing
    if packing == ".zip":
        with _complaining(path), zipfile.ZipFile(path) as archive:
            inner = _member(archive, path).filename
    else:
        inner = path.stem
    found = Path(inner).suffix.lower()
    if not found:
        raise DataError(
            f"{path}: the name does not say what is packed in it; call it by its kind too, as a.csv{packing}"
        )
    if found == ".parquet" or found in _OPENERS:
        raise DataError(f"{path}: is packed twice; unpack it once")
    return found


def read_bytes(path: Path) -> bytes | bytearray:
    """All bytes of a file, unpacked. Raises DataError when it cannot be read or is larger than the bound."""
    opener = _OPENERS.get(path.suffix.lower())
    with _complaining(path):
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(f"{path}: has more than {_said(LARGEST)}; split it, or take fewer rows")
        if opener is None:
            return path.read_bytes()
        most = min(LARGEST, max(_FREE, _TIMES * size))
        content = bytearray()
        with opener(path) as file:
            while part := file.read(min(_CHUNK, most + 1 - len(content))):
                content += part
                if len(content) > most:
                    raise DataError(
                        f"{path}: unpacks to more than {_said(most)} from {counted(size, 'byte')}; "
                        "if that is right, unpack it and name the file itself"
                    )
    return content


def _said(size: int) -> str:
    return f"{size >> 20:,} MiB"


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    """Whatever a library says of a broken file becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise _broken(path) from error
    except (NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path}: is packed in a way that is not read; unpack it") from error
    except OSError as error:
        if error.strerror is None:  # bz2 and Arrow say so of broken bytes
            raise _broken(path) from error
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _broken(path) from error


def _broken(path: Path) -> DataError:
    said = UNFETCHED if is_pointer(path) else f"is not a whole {path.suffix.lower()} file; pack it again"
    return DataError(f"{path}: {said}")


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """The one file of an archive; what macOS adds to each does not count."""
    files = [item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")]
    if len(files) != 1:
        names = f" ({some([plain(item.filename) for item in files], 4)})" if files else ""
        raise DataError(
            f"{path}: holds {counted(len(files), 'file')}{names}; pack one alone, or unpack it and name one"
        )
    if files[0].flag_bits & 1:
        raise DataError(f"{path}: is locked with a password; unpack it")
    return files[0]


@contextmanager
def _zip(path: Path) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(_member(archive, path)) as file:
        yield file


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(f"{path}: .zst is read with the package pyarrow; {EXTRA}, or unpack the file") from error
    with pyarrow.OSFile(str(path), "rb") as raw, pyarrow.CompressedInputStream(raw, "zstd") as file:
        yield cast("IO[bytes]", file)


def _gzip(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb"))


def _bz2(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", bz2.open(path, "rb"))


def _xz(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", lzma.open(path, "rb"))


_OPENERS: dict[str, Callable[[Path], Any]] = {".gz": _gzip, ".bz2": _bz2, ".xz": _xz, ".zst": _zstd, ".zip": _zip}
