"""What can go wrong with a request or a model. No status codes here; routes map each class once.

    ServiceError
    ├── InvalidInput      the request asks for something that cannot be
    │   ├── EmptyInput    it asks for nothing
    │   └── InputRejected the model is well and cannot run this input
    ├── Malformed         the bytes are not what they claim to be
    ├── UnknownModel      no model of that name or version is served
    ├── WrongTask         the model answers another kind of question
    ├── TooLarge          a limit on bytes, items, characters or tokens
    ├── TooSlow           the body did not arrive in time
    ├── Unauthorized      no key, or not one of ours
    ├── Forbidden         the key may not do this
    ├── Overloaded        admission refused; `retry_after` seconds is when to come back
    ├── DeadlineExceeded  the time the client gave has passed
    ├── LoadFailed        a model could not be loaded; what was served is served on
    └── Unavailable       not ready, draining, or switched off
        └── RuntimeFailed the runtime failed on this request's batch

Messages never repeat what was sent. What inference refuses has errors of its own; `told` says what each one is here.
"""

import re

from pgb_core.inference import errors as inference


class ServiceError(Exception):
    """Base of every error that a client is told about. code: the name of the class, as bodies of errors write it."""

    code = "error"

    def __init_subclass__(cls) -> None:
        cls.code = re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


class InvalidInput(ServiceError):
    """The request asks for something that cannot be."""


class EmptyInput(InvalidInput):
    """The request asks for nothing."""


class InputRejected(InvalidInput):
    """The model is well and cannot run this input."""


class Malformed(ServiceError):
    """The bytes are not what they claim to be."""


class UnknownModel(ServiceError):
    """No model of that name or version is served."""


class WrongTask(ServiceError):
    """The model answers another kind of question."""


class TooLarge(ServiceError):
    """A limit on bytes, items, characters or tokens was passed."""


class TooSlow(ServiceError):
    """The body did not arrive in time."""


class Unauthorized(ServiceError):
    """No key, or not one of ours."""


class Forbidden(ServiceError):
    """The key may not do this."""


class Overloaded(ServiceError):
    """More work is waiting than the service will hold."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(ServiceError):
    """The time the client gave has passed."""


class LoadFailed(ServiceError):
    """A model could not be loaded; what was served is served on."""


class Unavailable(ServiceError):
    """Not ready, draining, or switched off."""


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
    """What a client is told of what inference refuses, in the same words."""
    return _TOLD[type(error)](str(error))
