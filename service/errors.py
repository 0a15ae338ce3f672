"""What can go wrong with a request or a model. No status codes here; routes map each class once.

    ServiceError
    ├── InvalidInput      the request asks for something that cannot be
    ├── UnknownModel      no model of that name is served
    ├── WrongTask         the model answers another kind of question
    ├── TooLarge          a limit on bytes, items, characters or tokens
    ├── Overloaded        admission refused; `retry_after` seconds is when to come back
    └── Unavailable       not ready, draining, or the runtime failed

Messages never repeat what was sent.
"""


class ServiceError(Exception):
    """Base of every error that a client is told about."""

    code = "error"


class InvalidInput(ServiceError):
    """The request asks for something that cannot be."""

    code = "invalid_input"


class UnknownModel(ServiceError):
    """No model of that name is served."""

    code = "unknown_model"


class WrongTask(ServiceError):
    """The model answers another kind of question."""

    code = "wrong_task"


class TooLarge(ServiceError):
    """A limit on bytes, items, characters or tokens was passed."""

    code = "too_large"


class Overloaded(ServiceError):
    """More work is waiting than the service will hold."""

    code = "overloaded"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """Not ready, draining, or the runtime failed."""

    code = "unavailable"
