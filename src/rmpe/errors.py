"""Errors that the user can fix.

Invalid input raises a subclass of `RmpeError`. Its message is one line: what is wrong, in which
file, and what to do. The command line prints that line and exits; any other exception is a bug in
this package.
"""


class RmpeError(Exception):
    """Base class of all errors that the user can fix.

    The message is one line whatever it repeats of the user's files and options: line breaks and
    other control characters in it are written as escapes.
    """

    def __str__(self) -> str:
        said = super().__str__()
        return said if said.isprintable() else "".join(map(_printable, said))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class UsageError(RmpeError):
    """Options that contradict each other or name something unknown."""


class ImageError(RmpeError):
    """An image or a video that cannot be read."""


class ModelError(RmpeError):
    """A model file or model card that cannot be used."""


class NotInstalledError(ModelError):
    """A model of the catalogue that was not fetched yet.

    Attributes:
        name: What the catalogue calls it.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class DataError(RmpeError):
    """An invalid annotation, result, configuration or other data file."""


class OutputError(RmpeError):
    """A result file that cannot be written."""


class StorageError(RmpeError):
    """A storage that does not answer though it was asked several times."""


class WorkerError(RmpeError):
    """A worker process that cannot be started."""


class MissingPackageError(RmpeError):
    """An optional package that is not installed."""
