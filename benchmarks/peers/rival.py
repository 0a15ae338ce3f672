"""What is known of one server: how it is installed, started and asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEGATIVE, POSITIVE = "negative", "positive"


@dataclass(frozen=True)
class Place:
    """Where a server runs. python: of its environment. scratch: a folder for its files. port: it listens on."""

    python: Path
    artifact: Path
    form: str
    scratch: Path
    port: int

    @property
    def tool(self) -> Path:
        """The folder of the commands of its environment."""
        return self.python.parent


@dataclass(frozen=True)
class Rival:
    """One server.

    package, version: on PyPI. requirements: what its environment has, each pinned. forms: that it can run. settings:
    those that are not its defaults, each with the reason. command: that starts it. path: that is asked; a body is
    made from texts by `body`, and `read` gives the probability of the positive label for each text of an answer. ready:
    path that tells whether it takes requests. prepare: what is written into the scratch folder before the start.
    """

    name: str
    package: str
    version: str
    requirements: tuple[str, ...]
    forms: tuple[str, ...]
    settings: Mapping[str, str]
    command: Callable[[Place], Sequence[str]]
    path: str
    ready: str
    body: Callable[[Sequence[str]], object]
    read: Callable[[Any], list[float]]
    environment: Callable[[Place], Mapping[str, str]] = lambda _: {}
    prepare: Callable[[Place], None] = lambda _: None
    starts_on_all_cores: bool = False


# What a rival's script needs to run the model.
ENGINES = ("onnxruntime==1.32.0", "openvino==2026.4.1", "tokenizers", "numpy")
ANY_FORM = ("fp32", "int8", "openvino-int8")


def script(name: str) -> str:
    """The path of the script of the rival in the folder `name`."""
    return str(Path(__file__).parent / "rivals" / name / "app.py")


def texts_body(texts: Sequence[str]) -> object:
    """The body that scripts written for this comparison take."""
    return {"texts": list(texts)}


def read_rows(answer: Any) -> list[float]:
    """Of the answer that those scripts give: a list of probabilities by text."""
    return [float(row[1]) for row in answer["scores"]]
