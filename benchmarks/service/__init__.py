"""Load on a real server process, with k6's open model."""
