"""What a model is for: rows to inputs, logits to metrics."""
