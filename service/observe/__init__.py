"""What the service reports about itself: timings, metrics, the log and spans."""
