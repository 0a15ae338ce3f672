"""The errors of a request or a model. They have no status codes: `service/http/failures.py` maps each class once.

    ServiceError
    ├── InvalidInput      the request is well formed, but a value in it is not allowed
    │   ├── EmptyInput    the input is missing or empty
    │   └── InputRejected the model passes its check, but cannot run this input
    ├── Malformed         the bytes are not valid JSON, UTF-8, gzip or binary tensors
    ├── UnknownModel      no model of that name or version is served
    ├── WrongTask         the model is for another task, or lacks the labels that the request needs
    ├── TooLarge          a limit on bytes, items, characters or tokens was passed
    ├── TooSlow           the body did not arrive in time
    ├── Unauthorized      the key is missing or unknown
    ├── Forbidden         the key does not allow this
    ├── Overloaded        too much work is waiting; `retry_after` is the number of seconds to wait
    ├── DeadlineExceeded  the request's deadline has passed
    ├── LoadFailed        a model could not be loaded; the versions served before are still served
    └── Unavailable       the service is loading or shutting down, or a model does not answer
        └── RuntimeFailed the runtime failed on this request's batch

Messages never repeat what a client sent. `pgb_core.inference` has errors of its own; `told` translates each of them.
"""

import asyncio
import re

from pgb_core.inference import errors as inference

# What ends a task, a generator or the process. Everything else that is raised is a failure of the work, also what is no
# `Exception`: a library in Rust raises that when it panics.
ENDING = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


class ServiceError(Exception):
    """Base of every error that a client is told about. code: the class name in snake case, as error bodies show it."""

    code = "error"

    def __init_subclass__(cls) -> None:
        cls.code = re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


class InvalidInput(ServiceError):
    """The request is well formed, but a value in it is not allowed."""


class EmptyInput(InvalidInput):
    """The input is missing or empty."""


class InputRejected(InvalidInput):
    """The model passes its check, but cannot run this input."""


class Malformed(ServiceError):
    """The bytes are not valid JSON, UTF-8, gzip or binary tensors."""


class UnknownModel(ServiceError):
    """No model of that name or version is served."""


class WrongTask(ServiceError):
    """The model is for another task, or lacks the labels that the request needs."""


class TooLarge(ServiceError):
    """A limit on bytes, items, characters or tokens was passed."""


class TooSlow(ServiceError):
    """The body did not arrive in time."""


class Unauthorized(ServiceError):
    """The key is missing or unknown."""


class Forbidden(ServiceError):
    """The key does not allow this."""


class Overloaded(ServiceError):
    """Too much work is waiting already."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(ServiceError):
    """The request's deadline has passed."""


class LoadFailed(ServiceError):
    """A model could not be loaded; the versions served before are still served."""


class Unavailable(ServiceError):
    """The service is loading or shutting down, or a model does not answer."""


class RuntimeFailed(Unavailable):
    """The runtime failed on this request's batch."""


_TOLD: dict[type[inference.InferenceError], type[ServiceError]] = {
    inference.InvalidInput: InvalidInput,
    inference.EmptyInput: EmptyInput,
    inference.TooLarge: TooLarge,
    inference.WrongTask: WrongTask,
    inference.RuntimeUnavailable: Unavailable,
}


def told(error: inference.InferenceError) -> ServiceError:
    """The service's error for an error of inference, with the same message."""
    return _TOLD[type(error)](str(error))
