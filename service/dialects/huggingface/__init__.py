"""The dialect of Hugging Face's inference API: / and /models/{name}."""

import re

from service.dialects.base import Dialect
from service.dialects.huggingface.routes import router

HUGGING_FACE = Dialect(
    name="huggingface",
    routes=router.routes,
    paths=re.compile(r"/|/models/.*", re.DOTALL),
    work=re.compile(r"/|/models/(?P<model>[^/]+)"),
    error=lambda _, message: {"error": message},
    probes=("/models/{name}/health",),
)
