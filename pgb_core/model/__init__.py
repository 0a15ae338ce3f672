"""The encoder as PyTorch modules, and the modules that replace its parts."""
