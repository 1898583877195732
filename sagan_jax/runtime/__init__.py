"""Everything that touches devices, files, clocks and the terminal; knows nothing of GANs."""
