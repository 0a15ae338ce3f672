"""The artifact: one directory with a manifest. It is all that the job hands to the service.

`manifest.json` names every other file with its SHA-256. This package uses the standard library only.
"""

from pgb_core.artifact.manifest import (
    INPUTS,
    MAX_MANIFEST_BYTES,
    OUTPUTS,
    SCORINGS,
    TASKS,
    FormRecord,
    Manifest,
    telling,
    writable,
)
from pgb_core.artifact.names import (
    CARD,
    CHECK,
    COMPANIONS,
    CONFIG,
    FP32,
    GRAPH,
    MANIFEST,
    MODEL,
    PLAN,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    check_name,
    graph_name,
)
from pgb_core.artifact.place import repair, scratch_beside, swap
from pgb_core.artifact.reading import (
    POINTER,
    POSITIONS,
    UNFETCHED,
    Artifact,
    artifacts_in,
    is_pointer,
    open_artifact,
    sha256_of,
)
from pgb_core.artifact.writing import check_replaceable, write_artifact

__all__ = [
    "CARD",
    "CHECK",
    "COMPANIONS",
    "CONFIG",
    "FP32",
    "GRAPH",
    "INPUTS",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "MODEL",
    "OUTPUTS",
    "PLAN",
    "POINTER",
    "POSITIONS",
    "SCORINGS",
    "TASKS",
    "TOKENIZER",
    "TOKENIZER_CONFIG",
    "UNFETCHED",
    "WEIGHTS",
    "Artifact",
    "FormRecord",
    "Manifest",
    "artifacts_in",
    "check_name",
    "check_replaceable",
    "graph_name",
    "is_pointer",
    "open_artifact",
    "repair",
    "scratch_beside",
    "sha256_of",
    "swap",
    "telling",
    "writable",
    "write_artifact",
]
