"""Errors that this package raises on purpose. Each message says what is wrong, where, and what to do.

PGBError
├── ConfigError       an option or its combination is out of range
├── CheckpointError   a checkpoint is missing, unsupported or damaged
├── DataError         a data file is missing, empty or malformed (with file and line)
├── PlanError         a plan does not fit its model, or its budget cannot be met
├── ArtifactError     an artifact is incomplete, altered or of another schema
├── ParityError       the exported graph does not reproduce the PyTorch model
├── TrainingError     a training does not converge
├── ResourceError     no disk space, or a device that is not there
└── InferenceError    what a model cannot be asked, or cannot run: `pgb_core.inference.errors`
"""


class PGBError(Exception):
    """Base of every error that the command line shows as one line."""


class ConfigError(PGBError):
    """An option, or a combination of options, is out of range."""


class CheckpointError(PGBError):
    """A checkpoint is missing, of an unsupported kind, or damaged."""


class DataError(PGBError):
    """A data file is missing, empty or malformed."""


class PlanError(PGBError):
    """A plan does not fit the model it is applied to, or a budget cannot be met."""


class ArtifactError(PGBError):
    """An artifact directory is incomplete, altered or of an unknown schema."""


class ParityError(PGBError):
    """The exported graph and the PyTorch model disagree."""


class ResourceError(PGBError):
    """The machine lacks something: disk space, a device."""


class TrainingError(PGBError):
    """A training does not converge."""


# What may be wrong with one size, where another one is still possible.
OF_ONE_SIZE = (PlanError, ParityError, TrainingError)

# How torch and ONNX Runtime, which raise RuntimeError of every kind, say that memory ran out.
_SCARCE = (
    "out of memory",
    "not enough memory",
    "allocate memory",
    "failed to allocate",
    "allocation failed",
    "bad_alloc",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error tells of memory that ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SCARCE)
