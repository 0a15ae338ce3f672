"""Artifacts on the Hugging Face hub: `push` sends one, and the address hf://REPO opens it.

Nothing is fetched or sent unless an address or `push` asks for it. A fetched artifact is checked like any other. The
token is read from HF_TOKEN only.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from pgb_core.artifact import MANIFEST, MAX_MANIFEST_BYTES, Manifest, open_artifact, sha256_of, swap
from pgb_core.errors import ArtifactError, ResourceError

PREFIX = "hf://"
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of the variable
_ADDRESS = re.compile(rf"{PREFIX}(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w][\w./-]*))?")
_REPO = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*")
_REMEDY = "name a repository that pgb push filled"
_PLAIN = re.compile(r"[\w-][\w.-]*")  # a name that is no pattern


def located(path: str | Path) -> Path:
    """The directory of an artifact: a path as it is, or what the address hf://REPO[@REVISION] names, fetched.

    What was fetched before is not fetched again, and serves where the hub is out of reach. Raises ArtifactError where
    the hub has no artifact there, ResourceError where it cannot be reached or its client is not installed.
    """
    if not str(path).startswith(PREFIX):
        try:
            return Path(os.path.expanduser(path))
        except ValueError:  # no user has such a name; who opens the path refuses it
            return Path(path)
    match = _ADDRESS.fullmatch(str(path))
    if match is None or ".." in (match["revision"] or ""):  # the client makes a path of it
        raise ArtifactError(f"{path}: no address of the hub; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    client = _client()
    how = {"revision": match["revision"], "token": os.environ.get(TOKEN) or False}
    try:
        manifest = Path(client.hf_hub_download(match["repo"], MANIFEST, **how))
        files = _named(manifest, str(path))
        # Of the commit that the manifest is of, whatever the branch becomes meanwhile.
        how["revision"] = manifest.parent.name
        found = Path(client.snapshot_download(match["repo"], allow_patterns=[MANIFEST, *files], **how))
    except ArtifactError:
        raise
    except Exception as error:  # the hub's errors, those of the network, and of the cache
        if isinstance(error, client.errors.EntryNotFoundError) and hasattr(error, "response"):  # it was asked
            raise ArtifactError(f"{path}: has no {MANIFEST}, so it is no artifact; {_REMEDY}") from error
        raise ResourceError(
            f"{path}: the hub did not give it ({_reason(error)}); check name, {TOKEN} and network"
        ) from error
    return _plain_copy(found, files, str(path))


def push(path: str | Path, repo: str, private: bool = False) -> str:
    """Put an artifact into a repository, which is made where there is none. Returns the commit's address.

    Files beside those that the manifest names stay where they are. Raises ArtifactError when the directory is no whole
    artifact, ResourceError when the hub refuses, its client or the token is missing, or a repository that is there is
    public although it was to be private.
    """
    opened = open_artifact(path)
    if not _REPO.fullmatch(repo):
        raise ArtifactError(f"{repo}: no name of a repository; write OWNER/NAME")
    odd = next((name for name in opened.manifest.files if not _PLAIN.fullmatch(name)), None)
    if odd is not None:
        raise ArtifactError(f"{path}: the hub cannot have a file named {odd!r}; make the artifact again")
    client, token = _client(), os.environ.get(TOKEN)
    if not token:
        raise ResourceError(f"{TOKEN} is not set; put a token that may write to {repo} into it")
    api = client.HfApi(token=token)
    try:
        name = api.create_repo(repo, private=private or None, exist_ok=True).repo_id
        if private and not api.model_info(name).private:
            raise ResourceError(f"{name}: is there already and is public; make it private, or leave --private out")
        done = api.upload_folder(
            repo_id=name,
            folder_path=str(opened.path),
            allow_patterns=[MANIFEST, *opened.manifest.files],
            commit_message=f"{opened.manifest.name}, manifest sha256 {opened.digest[:12]}",
        )
    except ResourceError:
        raise
    except Exception as error:  # the hub's errors and those of the network
        raise ResourceError(
            f"{repo}: the hub refused it ({_reason(error)}); check name, {TOKEN} and network"
        ) from error
    return str(done.commit_url)


def _client() -> ModuleType:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it reports its use otherwise; read when it is imported
    try:
        import huggingface_hub
    except ImportError as error:
        raise ResourceError("huggingface_hub is not installed; pip install '.[hub]' in a clone of pgb-serve") from error
    return huggingface_hub


def _named(manifest: Path, said: str) -> Mapping[str, str]:
    """The files that a manifest names, with their sha256. Raises ArtifactError when it is none, or names a pattern."""
    if manifest.stat().st_size > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{said}: its manifest has more than {MAX_MANIFEST_BYTES} bytes, which is not read")
    try:
        files = Manifest.from_json(manifest.read_text("utf-8")).files
    except (ArtifactError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition(";")[0]
        raise ArtifactError(
            f"{said}: its {MANIFEST} is not that of an artifact which this version reads ({why}); {_REMEDY}"
        ) from error
    if not all(_PLAIN.fullmatch(name) for name in files):
        raise ArtifactError(f"{said}: the manifest names what is not a plain file name")
    return files


def _plain_copy(snapshot: Path, files: Mapping[str, str], said: str) -> Path:
    """The same files as an artifact has them: the hub's cache has links, and an artifact plain files.

    files: sha256 by name. A copy lies beside the cache's files, or where nothing can be written there, in a temporary
    directory of this process. One that is no longer whole is made again. Raises ArtifactError where the cache itself
    has other files, ResourceError where no copy can be written.
    """
    places: tuple[Callable[[], Path], ...] = (
        lambda: snapshot.parents[1] / "artifacts" / snapshot.name,
        lambda: _own_folder() / f"{snapshot.parents[1].name}-{snapshot.name}",
    )
    failed: list[OSError] = []
    for named in places:
        try:
            place = named()
            if not _whole(place, snapshot, files):
                _copy(snapshot, files, place, said)
            return place
        except OSError as error:  # such as a cache that may only be read
            failed.append(error)
    raise ResourceError(
        f"{said}: neither the hub's cache ({failed[0].strerror}) nor a temporary one ({failed[1].strerror}) takes a "
        "copy of it; make HF_HOME or TMPDIR name a directory with room that may be written to"
    ) from failed[1]


def _whole(place: Path, snapshot: Path, files: Mapping[str, str]) -> bool:
    """Whether a copy has the manifest of the cache, and every file as it was written."""
    try:
        if (place / MANIFEST).read_bytes() != (snapshot / MANIFEST).read_bytes():
            return False
        return all(
            sha256_of(place / name) == known and not (place / name).is_symlink() for name, known in files.items()
        )
    except OSError:
        return False


def _copy(snapshot: Path, files: Mapping[str, str], place: Path, said: str) -> None:
    """Copy the files and put them in place in one step. No bytes are shared: an edit would change the cache's, too.

    Raises ArtifactError where a file of the cache is missing or another, OSError where nothing can be written.
    """
    place.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for name in (MANIFEST, *files):
            source = (snapshot / name).resolve()
            if not source.is_file():
                raise ArtifactError(f"{said}: {name} is missing there")
            shutil.copyfile(source, made / name)
            if name in files and sha256_of(made / name) != files[name]:
                raise ArtifactError(
                    f"{said}: {name} is not the file that was written (sha256 differs); remove {snapshot.parents[1]} "
                    f"to fetch it again, or {_REMEDY}"
                )
        try:
            swap(made, place)
        except OSError:
            if not _whole(place, snapshot, files):  # another process was not faster
                raise


@functools.cache
def _own_folder() -> Path:
    """A temporary directory that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="pgb-hub-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"status {status}" if status else type(error).__name__
