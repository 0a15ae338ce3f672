"""Odd inputs, made from seeds, and the laws that hold for all of them."""
