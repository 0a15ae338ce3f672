"""Tests of pgb_core.inference."""
