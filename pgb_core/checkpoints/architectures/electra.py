"""ELECTRA's discriminator (Clark et al., 2020): BERT's layers; embeddings may be narrower than the residual stream."""

from dataclasses import replace

from pgb_core.checkpoints.architectures.base import Classifier
from pgb_core.checkpoints.architectures.bert import BERT

ELECTRA = replace(
    BERT,
    title="ELECTRA",
    prefix="electra",
    embeddings={**BERT.embeddings, "projection": "embeddings_project"},
    classifier=Classifier(dense="classifier.dense", activation="gelu", output="classifier.out_proj"),
    numbers={**BERT.numbers, "embedding": "embedding_size"},
    ignored=BERT.ignored | {"summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"},
)
