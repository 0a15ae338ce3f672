"""What the clients of Hugging Face's inference API ask."""
