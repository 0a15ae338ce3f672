"""What runs a graph. A runtime is one file and one line of the table in `registry`."""
