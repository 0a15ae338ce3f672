"""One run of a job: its settings, its inputs, and the place where it keeps finished stages."""
