"""The native dialect: /v1, beside /health, /metrics, and what is read at /. A model's own path is KServe's."""

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
