"""Named arrays in files of any program: read without running anything in them."""
