"""Measurements. Each script says what it measures and writes its figures to `results/`."""
