"""Unmodified clients of other projects against a real server process."""
