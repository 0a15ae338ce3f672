"""What runs inside the environments of the rivals. It imports nothing of this project."""
