"""The recipe of the built-in models, and their texts."""
