"""The load tests' script and report."""
