"""The pages at /ui and /docs."""
