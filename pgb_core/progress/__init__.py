"""Reports the progress of a job."""
