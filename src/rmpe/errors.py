"""Errors that a user can mend.

Everything the user may have got wrong raises a subclass of `RmpeError` whose message is one line:
what was wrong, with which file, and what to do. The command line prints that line and exits; any
other exception is a fault of ours.
"""


class RmpeError(Exception):
    """Base of all errors that the user can mend."""


class UsageError(RmpeError):
    """Options that contradict each other or name something that does not exist."""


class ImageError(RmpeError):
    """An image or a video that cannot be read."""


class ModelError(RmpeError):
    """A model file, or its card, that cannot be used."""


class DataError(RmpeError):
    """An annotation, result, configuration or other data file that is not what it should be."""


class OutputError(RmpeError):
    """A result file that cannot be written."""
