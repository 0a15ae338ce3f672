"""How many replicas hold a p99: measured times, arrivals, and the service's own queue under a simulated clock."""
