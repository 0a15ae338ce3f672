"""Each alert caused once beside a real Prometheus, and each query of the dashboard drawn."""
