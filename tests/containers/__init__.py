"""Images, compose file and what they bring."""
