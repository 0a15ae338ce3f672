"""Fuzzing: long runs of hostile input, and what each came to."""
