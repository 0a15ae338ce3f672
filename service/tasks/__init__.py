"""What happens before and after the model."""
