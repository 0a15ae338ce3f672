"""How the files of an artifact are called."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pgb_core.errors import ArtifactError

MANIFEST = "manifest.json"
GRAPH = ".onnx"
MODEL = f"model{GRAPH}"
TOKENIZER = "tokenizer.json"
PLAN = "plan.json"
CHECK = "check.json"
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CARD = "README.md"
COMPANIONS = (CONFIG, TOKENIZER_CONFIG, CARD)  # for other programs and for people; nothing here reads them
FP32 = "fp32"


def graph_name(form: str) -> str:
    """The file of a form's graph: model.onnx, or model-FORM.onnx for another than fp32."""
    return MODEL if form == FP32 else f"model-{form}{GRAPH}"


def check_name(form: str) -> str:
    """The file of a form's check, alike."""
    return CHECK if form == FP32 else f"check-{form}.json"


def inside(root: Path, name: str) -> Path:
    """The file of that name in an artifact. Raises ArtifactError unless it is a plain name, and no link."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or len(pure.parts) != 1 or pure.name in ("", ".", "..", MANIFEST) or "\\" in name:
        raise ArtifactError(f"{root}: {name!r} is not a plain file name")
    file = root / name
    if file.is_symlink():
        raise ArtifactError(f"{root}: {name} is a link; an artifact holds plain files")
    return file
