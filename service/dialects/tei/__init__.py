"""What the clients of text-embeddings-inference ask."""
