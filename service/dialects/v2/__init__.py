"""The Open Inference Protocol dialect: /v2."""

import re

from service import errors
from service.dialects.base import WITHOUT_422, Dialect
from service.dialects.v2.routes import router, work

# Clients, and the examples of Triton, look for these words.
_WORDS = {errors.UnknownModel.code: "Request for unknown model", errors.LoadFailed.code: "failed to load"}


def _error(code: str, message: str) -> dict[str, object]:
    return {"error": f"{_WORDS[code]}: {message}" if code in _WORDS else message}


V2 = Dialect(
    name="v2",
    routes=[*router.routes, *work.routes],
    paths=re.compile(r"/v2(/(?!rerank\Z).*)?", re.DOTALL),
    work=re.compile(r"/v2/models/(?P<model>[^/]+)/(.+/)?infer"),
    error=_error,
    statuses=WITHOUT_422,
    probes=(
        *("/v2/health/live", "/v2/health/ready"),
        *("/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready"),
    ),
)
