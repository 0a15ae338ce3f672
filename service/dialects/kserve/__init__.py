"""The KServe v1 dialect: paths of a model below /v1/models."""

import re

from service.dialects.base import WITHOUT_422, Dialect
from service.dialects.kserve.routes import router

KSERVE = Dialect(
    name="kserve",
    routes=router.routes,
    paths=re.compile(r"/v1/models/[^/]+"),
    work=re.compile(r"/v1/models/(?P<model>[^/]+):predict"),
    error=lambda _, message: {"error": message},
    statuses=WITHOUT_422,
    probes=("/v1/models/{name}",),
)
