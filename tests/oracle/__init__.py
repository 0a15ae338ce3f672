"""Question answering against the pipeline that it follows."""
