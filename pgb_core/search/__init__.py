"""What to keep of a model: pure mathematics on importances."""
