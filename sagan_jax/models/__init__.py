"""The networks, in pure Flax: no sharding, no files, no clocks.

Shape letters used in all of `models`: B batch, H and W image height and width,
C channels, L query positions, M key positions, K query/key channels, V value
channels, Z latent size.
"""
