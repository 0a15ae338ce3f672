"""Offline compression of fine-tuned BERT-family encoders by permutation and grouping (PGB)."""

__version__ = "0.1.0"
