"""Codes of errors, which are names of classes and clients rely on."""

from service.errors import ServiceError


def test_codes_of_errors_are_stable() -> None:
    """A class that is named otherwise is another error to a client."""
    found, waiting = set(), [ServiceError]
    while waiting:
        kind = waiting.pop()
        found.add(kind.code)
        waiting += kind.__subclasses__()
    assert found == {
        "deadline_exceeded",
        "empty_input",
        "error",
        "forbidden",
        "input_rejected",
        "invalid_input",
        "load_failed",
        "malformed",
        "overloaded",
        "runtime_failed",
        "too_large",
        "too_slow",
        "unauthorized",
        "unavailable",
        "unknown_model",
        "wrong_task",
    }
