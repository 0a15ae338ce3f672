"""The encoder as PyTorch modules, and what replaces its parts."""
