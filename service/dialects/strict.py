"""What the bodies of all dialects share, so that bad input of any size is cheap to refuse."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast, get_args, get_type_hints

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json
from starlette.exceptions import HTTPException

from service.dialects.common import Require, body_of, header_of
from service.errors import InvalidInput, Malformed, TooLarge

# Values that an input may take in the longest way of writing it, and those that a request has besides.
_VALUES_OF_INPUT, _OTHER_VALUES = 16, 1_000
_NO_OBJECT = ("model_type", "model_attributes_type")
# What is refused though other programs write or take it as JSON, by words of the parser.
_NO_JSON = {
    "hex escape": "an escape is cut short, or is half of a surrogate pair, as where a text was cut within an emoji",
    "unicode code point": "it is not UTF-8",
    "number out of range": "a number has too many digits",
    "recursion limit": "it is nested too deeply",
}
_MARK = b"\xef\xbb\xbf"


class Strict(BaseModel):
    """Unknown fields are an error, so that a misspelt option is not ignored. Many unknown fields give one error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _not_more_than_there_are(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > len(cls.model_fields):
            raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")
        return data


def check_values(body: bytes, items: int) -> None:
    """Count the values of JSON before any is created. Raises TooLarge when there are more than `items` inputs can need.

    The count is an upper bound: the commas, colons and opening brackets outside strings.
    """
    most = _VALUES_OF_INPUT * items + _OTHER_VALUES
    if len(body) <= most or _marks(body) <= most:
        return
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
    # A string that is no value is a key, which has a colon. Every other part between quotes is in a string.
    if plain.count(b'"') > 2 * most + 2 or _marks(b"".join(plain.split(b'"')[::2])) > most:
        raise TooLarge("the request has more values than its inputs can need; send fewer inputs at a time")


def _marks(text: bytes) -> int:
    return text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")


def said(found: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, in words of JSON, without a class of this program."""
    return "Input should be a JSON object" if found["type"] in _NO_OBJECT else str(found["msg"])


def json_of(body: bytes, name: str) -> object:
    """JSON without NaN or infinity. name: of what it is, for the message. Raises Malformed."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        known = (more for words, more in _NO_JSON.items() if words in str(error))
        marked = "it begins with a byte order mark; leave that out" if body.startswith(_MARK) else ""
        more = marked or next(known, "")
        raise Malformed(f"the {name} is not valid JSON" + (f": {more}" if more else "")) from None


Answering = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """A route that checks the key, then calls its function with parts of its path and the request.

    FastAPI documents the route. `Shortcut` calls `directly` without FastAPI, which looks up parameters at every
    request; here they are read once from the function's annotations. FastAPI answers where `directly` is None, under
    another server, and when a request asks for more.
    """

    directly: Answering | None = None

    def get_route_handler(self) -> Answering:
        """See APIRoute. Raises TypeError for a function that takes anything else, but what has a default."""
        self.directly = self._checked(self._calling(set()))
        return super().get_route_handler()

    def _checks(self) -> list[Require]:
        """What the key must be good for."""
        checks = [needed.dependency for needed in self.dependencies if isinstance(needed.dependency, Require)]
        if len(checks) < len(self.dependencies):
            raise TypeError(f"{self.path}: takes more than a key to depend on")
        return checks

    def _checked(self, answer: Answering) -> Answering:
        """The same once the key is found good."""
        checks = self._checks()

        async def directly(request: Request) -> Response:
            for check in checks:
                await check(request)
            return await answer(request)

        return directly

    def _calling(self, given: set[str]) -> Callable[..., Coroutine[Any, Any, Response]]:
        """The function, called with the request, words of the path, and what is given besides."""
        kinds = get_type_hints(self.endpoint)
        takes = inspect.signature(self.endpoint).parameters
        asking = next((name for name in takes if kinds[name] is Request), "request")
        known = {asking, *given, *self.param_convertors}
        if not known <= set(takes) or any(takes[name].default is inspect.Parameter.empty for name in {*takes} - known):
            raise TypeError(f"{self.path}: takes more than words of its path, a body, the request and a key")
        answer = cast(Callable[..., Coroutine[Any, Any, Response]], self.endpoint)

        def called(request: Request, **more: object) -> Coroutine[Any, Any, Response]:
            return answer(**request.scope["path_params"], **more, **{asking: request})

        return called


class StrictRoute(DirectRoute):
    """A direct route whose function also takes a model, which is the body: strict JSON.

    What has no content type is read as JSON, too, for clients send it so; but not where models are administered: a page
    of another site can make a browser send that, and must first ask whether it may send what is called JSON.

    A field of the body that stands in the address is refused. It would be passed over, and without its version an
    unloading is one of all versions.

    A model may have a static method `heard`: it is called with what was sent before that is judged, and the request.

    FastAPI never answers it. What it looks up at every request costs as much as tokenising four texts, and it reads the
    body before it asks for the key.
    """

    def get_route_handler(self) -> Answering:
        """See APIRoute. Raises TypeError for a function that takes anything else beside a body."""
        bodies = {name: kind for name, kind in get_type_hints(self.endpoint).items() if _models(kind)}
        bodies.pop("return", None)
        if not bodies:
            return APIRoute.get_route_handler(self)
        (asked, kind), *_ = bodies.items()
        read = TypeAdapter(kind).validate_python
        answer = self._calling({asked})
        heard: Callable[[object, Request], None] | None = getattr(kind, "heard", None)
        if len(inspect.signature(self.endpoint).parameters) > 2 + len(self.param_convertors):
            raise TypeError(f"{self.path}: takes more than words of its path, a body, the request and a key")

        named = any(check.scope != "use" for check in self._checks())
        fields = _fields(kind)

        async def reading(request: Request) -> Response:
            if request.scope["query_string"] and not fields.isdisjoint(request.query_params):
                raise InvalidInput("fields of the body stand in the address; send them in the body")
            sent = await _sent(request, named)
            if heard is not None:
                heard(sent, request)
            try:
                found = read(sent, from_attributes=True)
            except ValidationError as error:
                described = error.errors(include_url=False, include_context=False, include_input=False)
                raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in described]) from None
            return await answer(request, **{asked: found})

        self.directly = self._checked(reading)
        return self.directly


def _models(kind: object) -> list[type[BaseModel]]:
    """The model that is annotated, alone or beside nothing; none for anything else."""
    return [part for part in (kind, *get_args(kind)) if isinstance(part, type) and issubclass(part, BaseModel)]


def _fields(kind: object) -> set[str]:
    """The names of all fields that a body of this kind may have."""
    if not isinstance(kind, type):
        return {name for part in get_args(kind) for name in _fields(part)}
    if issubclass(kind, RootModel):
        return _fields(kind.model_fields["root"].annotation)
    if not issubclass(kind, BaseModel):
        return set()
    fields = kind.model_fields.items()
    return {alias for name, field in fields for alias in getattr(field.validation_alias, "choices", [name])}


async def _sent(request: Request, named: bool) -> object:
    """What the body holds: JSON in UTF-8, without NaN or infinity, without halves of surrogate pairs, at most 200
    levels deep. None when it is empty.

    named: it must have a content type. Raises Malformed; HTTPException when it is not called JSON.
    """
    body = await body_of(request)
    if not body:
        return None
    kind = (header_of(request, b"content-type") or "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json and (kind or named):
        raise HTTPException(415, "send JSON, with content-type: application/json")
    check_values(body, request.app.state.settings.max_items)
    return json_of(body, "body")
