"""Artifacts on the Hugging Face hub: `push` sends one, and the address hf://REPO opens it.

Nothing is fetched or sent unless an address or `push` asks for it. A fetched artifact is checked like any other. The
token is read from HF_TOKEN only.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from types import ModuleType

from pgb_core.artifact import MANIFEST, MAX_MANIFEST_BYTES, Manifest, open_artifact
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
        return Path(path)
    match = _ADDRESS.fullmatch(str(path))
    if match is None or ".." in (match["revision"] or ""):  # the client makes a path of it
        raise ArtifactError(f"{path}: no address of the hub; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    client = _client()
    how = {"revision": match["revision"], "token": os.environ.get(TOKEN) or False}
    try:
        manifest = Path(client.hf_hub_download(match["repo"], MANIFEST, **how))
        names = _named(manifest, str(path))
        # Of the commit that the manifest is of, whatever the branch becomes meanwhile.
        how["revision"] = manifest.parent.name
        found = Path(client.snapshot_download(match["repo"], allow_patterns=[MANIFEST, *names], **how))
    except ArtifactError:
        raise
    except Exception as error:  # the hub's errors, those of the network, and of the cache
        if isinstance(error, client.errors.EntryNotFoundError) and hasattr(error, "response"):  # it was asked
            raise ArtifactError(f"{path}: has no {MANIFEST}, so it is no artifact; {_REMEDY}") from error
        raise ResourceError(
            f"{path}: the hub did not give it ({_reason(error)}); check name, {TOKEN} and network"
        ) from error
    return _plain_copy(found, [MANIFEST, *names], str(path))


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


def _named(manifest: Path, said: str) -> list[str]:
    """The files that a manifest names. Raises ArtifactError when it is none, or names a pattern."""
    if manifest.stat().st_size > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"{said}: its manifest has more than {MAX_MANIFEST_BYTES} bytes, which is not read")
    try:
        names = list(Manifest.from_json(manifest.read_text("utf-8")).files)
    except (ArtifactError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition(";")[0]
        raise ArtifactError(
            f"{said}: its {MANIFEST} is not that of an artifact which this version reads ({why}); {_REMEDY}"
        ) from error
    if not all(_PLAIN.fullmatch(name) for name in names):
        raise ArtifactError(f"{said}: the manifest names what is not a plain file name")
    return names


def _plain_copy(snapshot: Path, names: list[str], said: str) -> Path:
    """The same files as an artifact has them: the hub's cache has links, and an artifact plain files.

    They share their bytes with the cache where the disk allows it.
    """
    place = snapshot.parents[1] / "artifacts" / snapshot.name
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            for name in names:
                source = (snapshot / name).resolve()
                if not source.is_file():
                    raise ArtifactError(f"{said}: {name} is missing there")
                try:
                    os.link(source, made / name)
                except OSError:
                    shutil.copyfile(source, made / name)
            if not place.is_dir():
                made.rename(place)
    except OSError as error:
        if not place.is_dir():  # another process was not faster
            raise ResourceError(f"{place}: cannot be written ({error.strerror})") from error
    return place


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"status {status}" if status else type(error).__name__
