"""Files that are either whole or not there."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rmpe.errors import OutputError

# Bytes of the longest file name on the file systems in use.
LONGEST_NAME = 255


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when the block ends well.

    Args:
        path: The final file; its folder is made if need be, an older file is replaced. A link
            stays, and what it points to is replaced.

    Yields:
        A binary file beside the final one; it is removed when the block fails.

    Raises:
        OutputError: If the folder or the file cannot be written, e.g. because the disk is full, or
            a folder, a device or a pipe has its name.
    """
    with _told(path):
        final = _final(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(scratch_name(final.name))
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(final)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


def _final(path: Path) -> Path:
    """Where a file will lie: what a link points to.

    Raises:
        OutputError: If something that is no file has its name.
        OSError: If the system does not take the name.
    """
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        what = "a folder" if final.is_dir() else "a device or a pipe"
        raise OutputError(f"{path}: cannot write: {what} has this name")
    return final


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic(path) as file:
        file.write(text.encode())


def check_writable(path: Path) -> None:
    """That a file can be written, before the work that makes its contents. Leaves nothing behind.

    Raises:
        OutputError: If it cannot.
    """
    with _told(path):
        _probe(_final(path).parent)


def check_writable_folder(path: Path) -> None:
    """`check_writable` for a folder that the work will fill, and make if need be.

    Raises:
        OutputError: If no file can be written into it.
    """
    with _told(path):
        _probe(path)


def _probe(folder: Path) -> None:
    """Write and remove a file where ``folder`` is or would be made."""
    while not folder.exists():
        folder = folder.parent
    partial = folder / scratch_name("probe")
    partial.touch()
    partial.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """An error of the system becomes one line about ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(why_not_written(path, error)) from error


def scratch_name(name: str) -> str:
    """A name for a file until it is whole: hidden, no other process's, never longer than its own.

    A long name is cut, so that a file whose name is just legal can be written.
    """
    ending = f".{os.getpid()}.{threading.get_ident() % 10**6}.partial"
    room = max(LONGEST_NAME - len(os.fsencode(ending)) - 1, 0)
    kept = os.fsencode(name)[:room]
    if len(kept) < len(os.fsencode(name)):  # two long names may begin alike
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        kept = kept[: room - len(digest)] + digest.encode()
    return "." + kept.decode("utf-8", "ignore") + ending


def why_not_written(path: Path, error: OSError) -> str:
    """One line for the user: which file could not be written, why, and what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"{path}: cannot write, the disk is full; free some space and run it again, with"
            " --resume where there is one"
        )
    if isinstance(error, FileExistsError):  # what mkdir says where a folder should be
        return f"{path}: cannot write: Not a directory"
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
        file.writelines(encode_list(items))
    return path


def save_figure(figure: Any, path: Path, **settings: Any) -> Path:
    """Draw a figure of matplotlib into a file; its suffix says the kind, PNG without one.

    Args:
        figure: The figure.
        path: The file.
        settings: As for ``Figure.savefig``.

    Returns:
        ``path``.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix(".") or "png", **settings)
    return path


def encode_list(items: Iterable[str]) -> Iterator[bytes]:
    """A JSON list, one item a line, piece by piece.

    Args:
        items: The items as JSON text.
    """
    separator = b"[\n"
    for item in items:
        yield separator + item.encode()
        separator = b",\n"
    yield b"\n]\n" if separator == b",\n" else b"[]\n"
