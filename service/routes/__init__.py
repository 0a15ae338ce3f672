"""HTTP routes, one file a dialect."""
