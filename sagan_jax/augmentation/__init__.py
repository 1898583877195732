"""Changes that real and generated images go through alike before the discriminator sees them; pure functions."""
