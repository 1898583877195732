"""Trained generators in use: images, attention maps and paths through the latents, wherever the weights come from."""
