"""Rival servers beside this one: the same model, the same requests, one core each."""
