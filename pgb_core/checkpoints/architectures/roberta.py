"""RoBERTa (Liu et al., 2019): BERT's layers with another head, and positions that skip padding."""

from dataclasses import replace

from pgb_core.checkpoints.architectures.base import Classifier
from pgb_core.checkpoints.architectures.bert import BERT

ROBERTA = replace(
    BERT,
    title="RoBERTa",
    prefix="roberta",
    classifier=Classifier(dense="classifier.dense", activation="tanh", output="classifier.out_proj"),
    counts_padding=False,
)
