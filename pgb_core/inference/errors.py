"""The errors of inference. They have no status codes; the service maps them to its own errors.

    PGBError
    └── InferenceError
        ├── InvalidInput            a value that was given is not allowed
        │   └── EmptyInput          the input is missing or empty
        ├── TooLarge                the work would need too much time or memory
        ├── WrongTask               the model is for another task
        └── RuntimeUnavailable      the runtime is missing, or its logits differ from those in the artifact

Messages never repeat what was given to the model.
"""

from __future__ import annotations

from pgb_core.errors import PGBError


class InferenceError(PGBError):
    """Base of everything that inference refuses."""


class InvalidInput(InferenceError):
    """What is asked for cannot be."""


class EmptyInput(InvalidInput):
    """Nothing is asked for."""


class TooLarge(InferenceError):
    """It would take too long, or too much memory."""


class WrongTask(InferenceError):
    """The model answers another kind of question."""


class RuntimeUnavailable(InferenceError):
    """The runtime is not installed, cannot do what is asked, or does not give what the artifact says."""
