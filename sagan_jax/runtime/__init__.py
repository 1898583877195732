"""Devices, files, clocks and the terminal; nothing here depends on GANs."""
