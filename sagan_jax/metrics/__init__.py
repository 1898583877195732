"""Measures of generated images; they know arrays, not models or training."""
