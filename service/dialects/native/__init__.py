"""The native dialect: /v1, /health, /metrics and GET /. The path of a model itself belongs to KServe v1."""

import re

from service.dialects.base import Dialect
from service.dialects.native.routes import router

NATIVE = Dialect(
    name="native",
    routes=router.routes,
    paths=re.compile(r"/v1/(?!(?:rerank|models/[^/]+)\Z).*|/health|/metrics", re.DOTALL),
    work=re.compile(r"/v1/(models/(?P<model>[^/]+)/)?(classify|answer)"),
    error=lambda code, message: {"error": {"code": code, "message": message}},
    probes=("/", "/health", "/metrics"),
    reads=re.compile(r"/"),
)
