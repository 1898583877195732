"""sagan_jax: training of self-attention GANs (Zhang et al. 2018) in JAX and Flax."""

__version__ = "0.1.0"
