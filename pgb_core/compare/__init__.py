"""Compares all methods on one model under one budget: results as rows, a picture and a recommendation."""
