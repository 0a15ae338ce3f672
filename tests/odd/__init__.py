"""Odd files, checkpoints and moments, made from seeds: read right, or refused in words."""
