"""Exported models: a folder with weights, a card and a program that needs only JAX."""
