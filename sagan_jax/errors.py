"""The one exception for input that a person can correct."""


class InputError(ValueError):
    """Something the user gave is wrong: a config field, a flag, a data set, a workdir.

    The message is one sentence that names the field or file, its value and the
    remedy. Programs print it without a traceback and exit with status 2.
    """
