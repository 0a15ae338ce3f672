"""Load tests of dense and compressed models side by side, and the report of what they showed."""
