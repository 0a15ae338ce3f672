"""Decides which requests are admitted, which is next, and which inputs run together. Knows no models and no HTTP."""
