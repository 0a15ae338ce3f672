"""What the service tells of itself: stamps, metrics, the log and spans."""
