"""Converts weights of other programs to the names and shapes of this package."""
