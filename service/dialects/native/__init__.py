"""The native dialect: /v1, beside /health and /metrics."""

import re

from service.dialects.base import Dialect
from service.dialects.native.routes import router

NATIVE = Dialect(
    name="native",
    routes=router.routes,
    paths=re.compile(r"/v1/(?!rerank\Z).*|/health|/metrics", re.DOTALL),
    work=re.compile(r"/v1/(models/(?P<model>[^/]+)/)?(classify|answer)"),
    error=lambda code, message: {"error": {"code": code, "message": message}},
    probes=("/health", "/metrics"),
)
