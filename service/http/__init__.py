"""HTTP: connections, arriving requests, and the answers to errors."""
