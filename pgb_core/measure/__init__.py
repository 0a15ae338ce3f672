"""Figures of a model: its quality and its speed."""
