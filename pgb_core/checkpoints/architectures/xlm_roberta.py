"""XLM-RoBERTa (Conneau et al., 2020): RoBERTa with the same names of tensors and a multilingual vocabulary."""

from dataclasses import replace

from pgb_core.checkpoints.architectures.roberta import ROBERTA

XLM_ROBERTA = replace(ROBERTA, title="XLM-RoBERTa")
