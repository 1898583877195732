"""Models apart from their runs: one folder with weights, a card and a program that needs only JAX."""
