"""How far a job is, and who is told."""
