"""Convolutions and resampling, each in the form that is fast on the platform at hand; pure JAX, no parameters."""
