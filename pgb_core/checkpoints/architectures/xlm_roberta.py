"""XLM-RoBERTa (Conneau et al., 2020): RoBERTa under the same names, with a vocabulary of many languages."""

from dataclasses import replace

from pgb_core.checkpoints.architectures.roberta import ROBERTA

XLM_ROBERTA = replace(ROBERTA, title="XLM-RoBERTa")
