"""The SageMaker dialect: /invocations takes and gives the same as / of the Hugging Face dialect.

Its other path, /ping, belongs to the dialect of text-embeddings-inference, which has it too.
"""

import re

from fastapi import APIRouter

from service.dialects.base import Dialect
from service.dialects.common import USE
from service.dialects.huggingface import HUGGING_FACE
from service.dialects.huggingface.routes import ERRORS, Answers, ask
from service.dialects.strict import StrictRoute

router = APIRouter(tags=["sagemaker"], dependencies=USE, route_class=StrictRoute)
router.post("/invocations", response_model=Answers, responses=ERRORS)(ask)

SAGEMAKER = Dialect(
    name="sagemaker",
    routes=router.routes,
    paths=re.compile(r"/invocations"),
    work=re.compile(r"/invocations"),
    error=HUGGING_FACE.error,
    statuses=HUGGING_FACE.statuses,
)
