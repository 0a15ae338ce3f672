"""Modules of a grouped encoder."""
