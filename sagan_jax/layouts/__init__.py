"""Weights of other programs, brought to our names and shapes: what each calls its layers, and how it keeps them."""
