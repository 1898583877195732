"""Trained generators in use: images, attention maps and interpolations."""
