"""The Open Inference Protocol: /v2."""

import re

from service import errors
from service.dialects.base import Dialect
from service.dialects.v2.routes import router, work

V2 = Dialect(
    name="v2",
    routes=[*router.routes, *work.routes],
    paths=re.compile(r"/v2(/(?!rerank\Z).*)?", re.DOTALL),
    work=re.compile(r"/v2/models/(?P<model>[^/]+)/(.+/)?infer"),
    error=lambda _, message: {"error": message},
    statuses=dict.fromkeys((errors.InvalidInput, errors.EmptyInput, errors.InputRejected), 400),
    probes=("/v2/health/live", "/v2/health/ready"),
)
