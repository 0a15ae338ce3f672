"""What the clients of text-embeddings-inference ask: /predict, /info and /ping."""

import re

from service import errors
from service.dialects.base import Dialect
from service.dialects.tei.routes import router

# It names its errors by these; anything else is a matter of the request.
_TYPES = {
    errors.Overloaded.code: "Overloaded",
    errors.Unavailable.code: "Unhealthy",
    errors.DeadlineExceeded.code: "Unhealthy",
    errors.RuntimeFailed.code: "Backend",
    errors.UnknownModel.code: "Backend",
    errors.EmptyInput.code: "Empty",
    "internal": "Backend",
}

TEI = Dialect(
    name="tei",
    routes=router.routes,
    paths=re.compile(r"/predict|/info|/ping"),
    work=re.compile(r"/predict"),
    error=lambda code, message: {"error": message, "error_type": _TYPES.get(code, "Validation")},
    statuses={
        errors.EmptyInput: 400,
        errors.TooLarge: 422,
        errors.UnknownModel: 424,  # /predict names no model: there is none that labels
        errors.RuntimeFailed: 424,
    },
    probes=("/ping",),
)
