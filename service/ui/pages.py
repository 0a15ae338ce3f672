"""/ui, a page for trying the models, and /docs, a page on the API: static files, all named here."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

PAGE = "index.html"
DOCS = "docs.html"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER = files("service") / "ui"
_NAMES = sorted(entry.name for entry in _FOLDER.iterdir())
MEDIA_TYPES = {name: _KINDS[PurePath(name).suffix] for name in _NAMES if PurePath(name).suffix in _KINDS}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and answered 304 while nothing has changed
}


@router.get("/ui")
async def folder() -> RedirectResponse:
    """Redirect to the folder, where the page's relative addresses are right under any prefix."""
    return RedirectResponse("ui/", status_code=308)


@router.get("/ui/")
@router.get("/ui/{name}")
async def file(request: Request, name: str = PAGE) -> Response:
    """The page, or a file that a page needs. The page of the API has another route, for its relative addresses."""
    if name not in MEDIA_TYPES or name == DOCS:
        raise HTTPException(404)
    return _sent(request, name)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The page that shows /openapi.json."""
    return _sent(request, DOCS)


def _sent(request: Request, name: str) -> Response:
    """A file; 304 when the browser has it already."""
    content, tag = _read(name)
    headers = {**HEADERS, "ETag": tag}
    if tag in {known.strip() for known in request.headers.get("if-none-match", "").split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=f"{MEDIA_TYPES[name]}; charset=utf-8")


@cache
def _read(name: str) -> tuple[bytes, str]:
    """A file and its tag, which is weak because the file may be sent compressed."""
    content = (_FOLDER / name).read_bytes()
    return content, f'W/"{hashlib.sha256(content).hexdigest()[:20]}"'
