"""The served models: how they are made, loaded, replaced and freed."""
