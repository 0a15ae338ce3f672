"""The architectures whose checkpoints are read: one file each, and one line here, under its `model_type`."""

from pgb_core.checkpoints.architectures.base import Architecture
from pgb_core.checkpoints.architectures.bert import BERT
from pgb_core.checkpoints.architectures.camembert import CAMEMBERT
from pgb_core.checkpoints.architectures.distilbert import DISTILBERT
from pgb_core.checkpoints.architectures.electra import ELECTRA
from pgb_core.checkpoints.architectures.roberta import ROBERTA
from pgb_core.checkpoints.architectures.xlm_roberta import XLM_ROBERTA

ARCHITECTURES: dict[str, Architecture] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "xlm-roberta": XLM_ROBERTA,
    "camembert": CAMEMBERT,
}


def titles() -> str:
    """Their names in prose: "A, B or C"."""
    *others, last = (architecture.title for architecture in ARCHITECTURES.values())
    return f"{', '.join(others)} or {last}"
