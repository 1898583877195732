"""Scores of generated images against real ones, their protocol, and how both are shown."""
