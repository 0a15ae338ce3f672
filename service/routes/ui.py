"""/ui: a page to try the models. Static files, all of them named here, that load nothing from elsewhere."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

router = APIRouter(prefix="/ui", include_in_schema=False)

PAGE = "index.html"
MEDIA_TYPES = {
    PAGE: "text/html",
    "style.css": "text/css",
    "theme.js": "text/javascript",
    "app.js": "text/javascript",
    "api.js": "text/javascript",
    "compare.js": "text/javascript",
    "dom.js": "text/javascript",
    "examples.js": "text/javascript",
    "live.js": "text/javascript",
    "metrics.js": "text/javascript",
    "models.js": "text/javascript",
    "recent.js": "text/javascript",
    "results.js": "text/javascript",
    "waterfall.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again each time, and answered 304 while nothing has changed
}


@router.api_route("", methods=["GET", "HEAD"])
async def folder() -> RedirectResponse:
    """To the folder, from where the page's relative addresses are right under any prefix."""
    return RedirectResponse("ui/", status_code=308)


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/{name}", methods=["GET", "HEAD"])
async def file(request: Request, name: str = PAGE) -> Response:
    """The page, or a file that it needs; 304 when the browser has it already."""
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    content, tag = _read(name)
    headers = {**HEADERS, "ETag": tag}
    if tag in {known.strip() for known in request.headers.get("if-none-match", "").split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=f"{MEDIA_TYPES[name]}; charset=utf-8")


@cache
def _read(name: str) -> tuple[bytes, str]:
    """A file and its tag, which is weak because the file may be sent compressed."""
    content = (files("service") / "ui" / name).read_bytes()
    return content, f'W/"{hashlib.sha256(content).hexdigest()[:20]}"'
