"""CamemBERT (Martin et al., 2020): RoBERTa with the same names of tensors, trained on French."""

from dataclasses import replace

from pgb_core.checkpoints.architectures.roberta import ROBERTA

CAMEMBERT = replace(ROBERTA, title="CamemBERT")
