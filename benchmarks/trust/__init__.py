"""From raw text and labels to an artifact: what was read right, refused and killed, and how a job shares a machine."""
