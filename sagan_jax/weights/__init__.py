"""Reads named arrays from files of any program, without running anything in them."""
