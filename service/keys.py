"""API keys: the file of hashes, what each key allows, and how a key is made.

Each line of the file is `name scope sha256`, with scope `use` or `admin`. A key has 256 random bits, so it cannot be
found from its plain SHA-256. `python -P -m service.keys FILE NAME [--admin]` adds a key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgb_core.flags import Parser
from service.errors import Forbidden, Unauthorized
from service.observe import logs
from service.observe.metrics import clock

SCOPES = ("use", "admin")
_LINE = re.compile(r"(?P<name>[\w.-]{1,64}) (?P<scope>use|admin) (?P<digest>[0-9a-f]{64})")
_RECHECK_SECONDS = 1.0


class KeysError(ValueError):
    """The file of keys cannot be read, or holds none."""


@dataclass(frozen=True)
class Key:
    """One line of the file."""

    name: str
    scope: str
    digest: str


class Keys:
    """The keys of a file, which is read again when it changes. If it cannot be read or holds none, as it may while it
    is written, the keys that were read last stay valid, the log says so, and the file is tried again.

    Without a file everyone may use the service, and nobody may administer it.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = _stamp(path) if path else None  # before it is read: it may change meanwhile
        self._keys = read_keys(path) if path else []
        self._checked = clock()
        self._failing = ""

    @property
    def required(self) -> bool:
        """Whether a key is needed to ask."""
        return self._path is not None

    def check(self, secrets: Sequence[str], scope: str) -> str:
        """The name of the owner of the first key that is in force. secrets: as headers hold them, a character for each
        byte that was sent.

        Raises Unauthorized or Forbidden.
        """
        if self._path is None:
            if scope == "admin":
                raise Forbidden("models can be loaded and unloaded only where keys are set; start with a keys file")
            return ""
        self._refresh(self._path)
        found = next(filter(None, map(self._owned, secrets)), None)
        if found is None:
            raise Unauthorized("a key is needed: Authorization: Bearer KEY")
        if scope == "admin" and found.scope != "admin":
            raise Forbidden("this key may ask models but not administer them")
        return found.name

    def _owned(self, secret: str) -> Key | None:
        """The key in force that a secret is. All are compared, so that the time taken tells nothing."""
        found = None
        for digest in _digests(secret):
            for key in self._keys:
                if hmac.compare_digest(key.digest, digest):
                    found = key
        return found

    def _refresh(self, path: Path) -> None:
        now = clock()
        with self._lock:
            if now - self._checked < _RECHECK_SECONDS:
                return
            self._checked = now
            stamp = _stamp(path)
            if stamp == self._stamp and not self._failing:
                return
            try:
                keys = read_keys(path)
            except KeysError as error:
                if self._failing != str(error):
                    logs.problem("the keys file cannot be used", reason=str(error), keys_in_force=len(self._keys))
                self._failing = str(error)
                return
            if self._failing or keys != self._keys:
                logs.event("the keys file was read", keys_in_force=len(keys))
            if _is_gone(path):
                logs.problem(
                    "the keys file was replaced or deleted, and its mount shows the old one: changes have no effect; "
                    "mount the folder that it is in, and not the file alone",
                    keys_in_force=len(keys),
                )
            self._keys, self._stamp, self._failing = keys, stamp, ""


def _digests(secret: str) -> list[str]:
    """Hashes of the bytes that were sent and, for letters that browsers send in latin-1, of the same in UTF-8."""
    codings = ("latin-1",) if secret.isascii() else ("latin-1", "utf-8")
    return [hashlib.sha256(secret.encode(coding)).hexdigest() for coding in codings]


def secrets_of(headers: Mapping[str, str]) -> list[str]:
    """What may be the key of a request: X-API-Key, and a bearer token, which a gateway may have put there for itself.

    Never an empty one, whose hash a slip of the shell can put into the file.
    """
    kind, _, secret = headers.get("authorization", "").partition(" ")
    bearer = secret.strip(" \t") if kind.lower() == "bearer" else ""  # other blanks are parts of letters in UTF-8
    return [given for given in (headers.get("x-api-key", ""), bearer) if given]


def read_keys(path: Path) -> list[Key]:
    """All keys of a file, at least one, each once; blank lines and lines from # on are skipped. Raises KeysError."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        more = "; the user that runs the service must be let read it" if isinstance(error, PermissionError) else ""
        raise KeysError(f"{path}: cannot be read ({type(error).__name__}){more}") from None
    keys = []
    places: dict[str, int] = {}  # the line of each key
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise KeysError(f"{path}:{number}: not 'name use|admin sha256'")
        same = places.setdefault(match["digest"], number)
        if same != number:  # whose name and scope count could be read two ways
            raise KeysError(f"{path}:{number}: the same key as in line {same}; leave one of the lines out")
        keys.append(Key(**match.groupdict()))
    if not keys:
        raise KeysError(f"{path}: holds no key; python -P -m service.keys {path} NAME adds one")
    return keys


def make_key(path: Path, name: str, scope: str) -> str:
    """Add a new key to the file, readable only by its owner, and return the secret, which is not stored."""
    secret = f"pgb_{secrets.token_urlsafe(32)}"
    line = f"{name} {scope} {hashlib.sha256(secret.encode()).hexdigest()}"
    if _LINE.fullmatch(line) is None:
        raise KeysError("a name may have letters, digits, dots, dashes and underscores, at most 64 in all")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    whole = not path.stat().st_size or path.read_bytes().endswith(b"\n")
    with os.fdopen(descriptor, "a", encoding="utf-8") as file:
        file.write(("" if whole else "\n") + line + "\n")
    return secret


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Values that change when the file, its owner or its mode changes."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid, found.st_gid


def _is_gone(path: Path) -> bool:
    """Whether no folder has the file any more, as where the file alone is mounted and another one takes its place."""
    with suppress(OSError):
        return path.stat().st_nlink == 0
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Print a new key once."""
    parser = Parser(prog="python -P -m service.keys", description="Add an API key to a file of hashes.")
    parser.add_argument("file", type=Path, help="file of hashes; made if it does not exist")
    parser.add_argument("name", help="whose key it is; shown in the log")
    parser.add_argument("--admin", action="store_true", help="the key may also load, unload and split models")
    args = parser.parse_args(argv)
    try:
        print(make_key(args.file, args.name, SCOPES[args.admin]))
    except (KeysError, OSError) as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    _tell_of_others(args.file, args.name)
    return 0


def _tell_of_others(path: Path, name: str) -> None:
    """Say on standard error if an owner has other keys: a new one may have been meant to replace them."""
    with suppress(KeysError):  # a line that somebody wrote by hand; the service says which
        others = [key.scope for key in read_keys(path) if key.name == name][:-1]
        if others:
            print(
                f"keys: {path}: older keys of {name} stay in force ({', '.join(others)}); to end one, delete its line",
                file=sys.stderr,
            )


if __name__ == "__main__":
    sys.exit(main())
