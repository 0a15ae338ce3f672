"""What costly requests cost the service, and what they take from others."""
