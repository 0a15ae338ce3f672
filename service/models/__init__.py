"""The models that are served: made, loaded, replaced and freed."""
