"""Measures the quality and the speed of a model."""
