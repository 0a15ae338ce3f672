"""Inference service for pgb artifacts: classification and extractive question answering over HTTP."""
