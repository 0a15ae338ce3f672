"""Where a running compression keeps what is done, so that a killed run can go on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pgb_core.errors import ConfigError, ResourceError


class Workspace:
    """A hidden directory beside the output; every file in it is complete or absent."""

    def __init__(self, out: str | Path, digest: str, resume: bool) -> None:
        """Open or start. Raises ConfigError when asked to resume another run's work."""
        out = Path(out)
        self.path = out.parent / f".{out.name}.work"
        marker = self.path / "run.json"
        if resume and marker.exists():
            if json.loads(marker.read_text())["digest"] != digest:
                raise ConfigError(f"{out}: the stopped run had other settings or data; leave --resume out")
            return
        try:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            self.save_text(marker.name, json.dumps({"digest": digest}, allow_nan=False))
        except OSError as error:
            raise ResourceError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from error

    def tensors(self, name: str) -> dict[str, Tensor] | None:
        """A stage's tensors, or None when it has not been done."""
        path = self.path / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ResourceError(f"{path}: damaged; start again without --resume") from error

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a stage's tensors, atomically."""
        plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
        self._swap(f"{name}.safetensors", lambda path: save_file(plain, path))

    def text(self, name: str) -> str | None:
        """A stage's text, or None."""
        path = self.path / name
        return path.read_text("utf-8") if path.exists() else None

    def save_text(self, name: str, text: str) -> None:
        """Keep a stage's text, atomically."""
        self._swap(name, lambda path: path.write_text(text, "utf-8"))

    def remove(self) -> None:
        """Everything is done, or nothing of it is worth keeping."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _swap(self, name: str, write: object) -> None:
        temporary = self.path / f".{name}.new"
        try:
            write(temporary)  # type: ignore[operator]
            os.replace(temporary, self.path / name)
        except (OSError, SafetensorError) as error:
            raise ResourceError(f"{self.path / name}: could not be written ({error}); is the disk full?") from error


def to_device(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copies on a device."""
    return {name: value.to(device) for name, value in tensors.items()}
