"""Files that are either whole or not there."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rmpe.errors import OutputError


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends without an
    error.

    Args:
        path: The final file; its folder is made if need be, an older file is replaced.

    Yields:
        A binary file beside the final one; it is removed when the block fails.

    Raises:
        OutputError: If the folder or the file cannot be written, e.g. because the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise OutputError(why_not_written(path, error)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def why_not_written(path: Path, error: OSError) -> str:
    """One line for the user: which file could not be written, why, and what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{path}: cannot write, the disk is full; free some space, then go on with --resume"
    return f"{path}: cannot write: {error.strerror or error}"


def write_list(path: Path, items: Iterable[str]) -> Path:
    """Write a JSON list, one item a line, without holding it in memory.

    Args:
        path: The file.
        items: The items as JSON text.

    Returns:
        ``path``.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic(path) as file:
        separator = b"[\n"
        for item in items:
            file.write(separator + item.encode())
            separator = b",\n"
        file.write(b"\n]\n" if separator == b",\n" else b"[]\n")
    return path
