"""Measures of generated images and of attention, as functions of arrays; and the Inception network of the FID."""
