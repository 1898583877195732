"""Stands before TensorFlow on the path of programs that do not need it and would take seconds to import it."""

raise ImportError("hidden by the tests")
