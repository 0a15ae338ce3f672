"""The forms of a graph."""
