"""The runtimes, which run graphs. Each is one file and one line of the table in `registry`."""
