"""The rerank dialect of Cohere's clients, and of clients that follow them: /v1/rerank and /v2/rerank."""

import re

from service.dialects.base import Dialect
from service.dialects.rerank.routes import router

RERANK = Dialect(
    name="rerank",
    routes=router.routes,
    paths=re.compile(r"/v[12]/rerank"),
    work=re.compile(r"/v[12]/rerank"),
    error=lambda _, message: {"message": message},
)
