"""The dialects, one folder for each. To add one: a folder like these, and its line in `DIALECTS`."""

from service.dialects.base import Dialect
from service.dialects.huggingface import HUGGING_FACE
from service.dialects.kserve import KSERVE
from service.dialects.native import NATIVE
from service.dialects.rerank import RERANK
from service.dialects.sagemaker import SAGEMAKER
from service.dialects.tei import TEI
from service.dialects.v2 import V2

# The first also answers where a path is nobody's.
DIALECTS: tuple[Dialect, ...] = (NATIVE, HUGGING_FACE, TEI, RERANK, V2, KSERVE, SAGEMAKER)
