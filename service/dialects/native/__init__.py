"""The native dialect: /v1 and /health."""
