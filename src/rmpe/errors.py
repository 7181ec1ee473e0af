"""Errors that the user can fix.

Invalid input raises a subclass of `RmpeError`. Its message is one line: what is wrong, in which
file, and what to do. The command line prints that line and exits; any other exception is a bug in
this package.
"""


class RmpeError(Exception):
    """Base class of all errors that the user can fix."""


class UsageError(RmpeError):
    """Options that contradict each other or name something unknown."""


class ImageError(RmpeError):
    """An image or a video that cannot be read."""


class ModelError(RmpeError):
    """A model file or model card that cannot be used."""


class DataError(RmpeError):
    """An invalid annotation, result, configuration or other data file."""


class OutputError(RmpeError):
    """A result file that cannot be written."""
