"""What schemathesis is told besides the OpenAPI document; it imports this by SCHEMATHESIS_HOOKS.

Half of the requests for a model name one that is served, which random names never would. A mark is put into
texts and fields; `no_echo` fails when an error gives it back, or any other word of the request. Where there are
keys most requests carry the admin's, and some the user's, a wrong one or none, which `keys_asked_for` watches.
FUZZ_MODELS and FUZZ_KEYS have names and keys, separated by commas; figures go to FUZZ_FIGURES as JSON at the end.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

from benchmarks.fuzz.mutants import MARK

MODELS = os.environ.get("FUZZ_MODELS", "").split(",")
WORDS = (*MODELS, "Authorization", "Bearer")  # that the service has of its own
KEYS = os.environ.get("FUZZ_KEYS", "")
FIGURES = os.environ.get("FUZZ_FIGURES")
_LONG = 6  # a shorter word may stand in an answer by chance
_source = random.Random(0)  # noqa: S311 - not for secrets
_lock = threading.Lock()
_statuses: Counter[int] = Counter()
_operations: Counter[str] = Counter()
_refused: Counter[str] = Counter()
_marked = 0
_slowest = 0.0
_slowest_operation = ""


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Name a model that is served; put the mark in. What unloads models keeps its random names."""
    global _marked
    with _lock:
        if "name" in case.path_parameters and not case.path.endswith("/unload") and _source.random() < 0.5:
            case.path_parameters["name"] = _source.choice(MODELS)
        if KEYS:
            admin, user = KEYS.split(",")
            case.headers.pop("Authorization", None)
            key = _source.choices((admin, user, admin[:-1], ""), (12, 2, 1, 1))[0]
            if key:
                case.headers["Authorization"] = f"Bearer {key}"
        if isinstance(case.body, dict | list) and _source.random() < 0.5:
            case.body = _with_mark(case.body)
            _marked += 1


def _with_mark(value: Any) -> Any:
    """A copy with the mark in some texts, and now and then in a field of its own."""
    if isinstance(value, str):
        return value + MARK if _source.random() < 0.3 else value
    if isinstance(value, list):
        return [_with_mark(item) for item in value]
    if isinstance(value, dict):
        extra = {MARK: MARK} if _source.random() < 0.1 else {}
        return {key: _with_mark(item) for key, item in value.items()} | extra
    return value


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Count it."""
    global _slowest, _slowest_operation
    with _lock:
        _statuses[response.status_code] += 1
        _operations[f"{case.method} {case.path}"] += 1
        if response.elapsed > _slowest:
            _slowest, _slowest_operation = response.elapsed, f"{case.method} {case.path}"


@schemathesis.check
def no_echo(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """An error repeats nothing that was sent, but names of the schema and of models."""
    if response.status_code < 400:
        return
    headers = {name: value for name, value in response.headers.items() if name.lower() != "x-request-id"}  # ours
    answer = response.content.decode("utf-8", "replace") + str(headers)
    known = json.dumps(case.operation.schema.raw_schema)
    for sent in _words([case.body, case.path_parameters, case.query, list(case.headers.values()), case.cookies]):
        if len(sent) >= _LONG and sent in answer and sent not in known and sent.strip() not in WORDS:
            raise AssertionError(f"the answer repeats {sent!r}")


@schemathesis.check
def keys_asked_for(context: CheckContext, response: Response, case: Case[Any]) -> None:
    """Where the document says so: 401 without a good key, 403 for administration with a user's."""
    if not KEYS or "security" not in case.operation.definition.raw or response.status_code == 405:
        return
    admin, user = KEYS.split(",")
    key = str(response.request.headers.get("Authorization", "")).removeprefix("Bearer ")  # a case may be sent again
    administers = case.path.endswith(("/load", "/unload", "/split"))
    wanted = 401 if key not in (admin, user) else 403 if key == user and administers else None
    if wanted is None and response.status_code in (401, 403):
        raise AssertionError(f"{response.status_code} with a good key")
    if wanted is not None:
        _refused[str(wanted)] += 1
        if response.status_code != wanted:
            raise AssertionError(f"{response.status_code} instead of {wanted}")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)


@atexit.register
def _write() -> None:
    if FIGURES:
        figures = {
            "cases": sum(_statuses.values()),
            "statuses": {str(status): _statuses[status] for status in sorted(_statuses)},
            "operations": dict(sorted(_operations.items())),
            "refused_for_the_key": dict(_refused),
            "bodies_with_the_mark": _marked,
            "slowest_ms": round(1e3 * _slowest, 1),
            "slowest_operation": _slowest_operation,
        }
        Path(FIGURES).write_text(json.dumps(figures))
