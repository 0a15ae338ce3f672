"""The dialect of text-embeddings-inference: /predict, /rerank, /info and /ping."""

import re

from service import errors
from service.dialects.base import Dialect
from service.dialects.contested import TEI as NAME
from service.dialects.tei.routes import router

# It names its errors by these; anything else is a matter of the request.
_TYPES = {
    errors.Overloaded.code: "Overloaded",
    errors.Unavailable.code: "Unhealthy",
    errors.DeadlineExceeded.code: "Unhealthy",
    errors.RuntimeFailed.code: "Backend",
    errors.UnknownModel.code: "Backend",
    errors.WrongTask.code: "Backend",
    errors.EmptyInput.code: "Empty",
    "internal": "Backend",
}

TEI = Dialect(
    name=NAME,
    routes=router.routes,
    # Those behind the first line are TEI's and not ours: they are 404 in its own words.
    paths=re.compile(
        r"/predict|/rerank|/info|/ping"
        r"|/embed|/embed_all|/embed_sparse|/similarity|/tokenize|/decode"
    ),
    work=re.compile(r"/predict|/rerank"),
    error=lambda code, message: {"error": message, "error_type": _TYPES.get(code, "Validation")},
    statuses={
        errors.EmptyInput: 400,
        errors.TooLarge: 422,
        errors.UnknownModel: 424,  # no path names a model: there is none that labels
        errors.WrongTask: 424,  # there is none that ranks
        errors.RuntimeFailed: 424,
    },
    probes=("/ping",),
)
