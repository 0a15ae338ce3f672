"""Decides what to keep of a model: pure functions of importances."""
