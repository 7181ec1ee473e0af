"""Where the files of a run lie: a folder of this machine, or an address that fsspec opens.

A file appears under its name only when it is whole: it is written aside and renamed in a folder,
and a put is atomic in an object store. A fault that may pass is tried again with growing waits.
"""

import errno
import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit
from uuid import uuid4

from rmpe.errors import (
    DataError,
    ImageError,
    OutputError,
    RmpeError,
    StorageError,
    UsageError,
)
from rmpe.extras import install_command, load_extra
from rmpe.files import make_folder, read_bytes
from rmpe.media.arrays import Image
from rmpe.media.images import MAX_BYTES, read_image
from rmpe.media.remote import is_remote

T = TypeVar("T")

TRIES = 5
# Seconds before the second try; each further wait is twice as long.
FIRST_WAIT = 0.5
# Faults of a file system, such as one on the network, that may pass.
PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
# Faults that no waiting helps.
FINAL = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    PermissionError,
)
# Names under which fsspec's systems say when a file was written.
TIMES = ("mtime", "LastModified", "updated", "last_modified", "created")


@dataclass(frozen=True)
class Entry:
    """A file of a storage.

    Attributes:
        size: Bytes.
        written: When it was last written, seconds since 1970; 0 where the storage does not say.
    """

    size: int
    written: float


class Storage(Protocol):
    """A flat folder of small files.

    Attributes:
        address: The folder's path or address.
    """

    address: str

    def entries(self) -> dict[str, Entry]:
        """All files by name; files that are still being written are left out.

        Raises:
            DataError: If the folder must not be read.
            StorageError: If the storage does not answer.
        """

    def read(self, name: str) -> bytes:
        """The contents of a file.

        Raises:
            DataError: If it is not there or must not be read.
            StorageError: If the storage does not answer.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole; an older one is replaced.

        Raises:
            OutputError: If it must not be written.
            StorageError: If the storage does not answer.
        """

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine.

        Raises:
            StorageError: If the storage does not answer.
        """


def open_storage(address: str) -> Storage:
    """The storage of a folder's path or address.

    Raises:
        UsageError: If nothing here opens addresses of this kind.
    """
    path = local_path(address)
    return RemoteStorage(address.rstrip("/")) if path is None else LocalStorage(path)


def local_path(address: str) -> str | None:
    """The absolute path of a file of this machine, ``None`` for an address elsewhere.

    Args:
        address: A path, an address, or a path as ``file://`` with escapes.
    """
    if not is_remote(address):
        return os.path.abspath(address)  # noqa: PTH100 - follows no links
    if address.lower().startswith("file://"):
        return os.fsdecode(unquote_to_bytes(urlsplit(address).path))
    return None


class LocalStorage:
    """A folder of this machine, or of the network as the system mounts it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._folder = Path(address)

    def entries(self) -> dict[str, Entry]:
        """See `Storage`."""

        def listed() -> dict[str, Entry]:
            found = {}
            with os.scandir(self._folder) as files:
                for file in files:
                    if not file.name.startswith(".") and file.is_file():
                        status = file.stat()
                        found[file.name] = Entry(status.st_size, status.st_mtime)
            return found

        try:
            return patiently(listed, self.address)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise DataError(f"{self.address}: cannot be read: {error.strerror}") from error

    def read(self, name: str) -> bytes:
        """See `Storage`."""
        return read_bytes(self._folder / name)

    def write(self, name: str, data: bytes) -> None:
        """See `Storage`."""
        path = self._folder / name

        # Two machines may write the same file at the same time, even under one process number.
        partial = self._folder / f".{name}.{uuid4().hex}.partial"

        def written() -> None:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # whole before it has its name, whatever happens
            partial.replace(path)

        make_folder(self._folder)
        try:
            patiently(written, str(path))
        except OSError as error:
            raise OutputError(f"{path}: cannot write: {_why(error)}") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """See `Storage`."""
        with suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def remove_scratch(self) -> None:
        """Remove what killed processes have left half written."""
        for path in self._folder.glob(".*.partial"):
            self.remove(path.name)


class RemoteStorage:
    """A folder of an object store."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._system, self._path = _opened(address)

    def entries(self) -> dict[str, Entry]:
        """See `Storage`."""

        def listed() -> dict[str, Entry]:
            self._system.invalidate_cache()
            try:
                rows = self._system.ls(self._path, detail=True)
            except FileNotFoundError:
                return {}
            return {
                row["name"].rstrip("/").rpartition("/")[2]: Entry(row["size"] or 0, _written(row))
                for row in rows
                if row["type"] == "file"
            }

        try:
            return patiently(listed, self.address)
        except PermissionError as error:
            raise DataError(f"{self.address}: cannot be read: {_why(error)}") from error

    def read(self, name: str) -> bytes:
        """See `Storage`."""
        place = f"{self.address}/{name}"
        try:
            data: bytes = patiently(lambda: self._system.cat_file(f"{self._path}/{name}"), place)
        except (FileNotFoundError, PermissionError) as error:
            raise DataError(f"{place}: cannot be read: {_why(error)}") from error
        return data

    def write(self, name: str, data: bytes) -> None:
        """See `Storage`."""
        place = f"{self.address}/{name}"
        try:
            patiently(lambda: self._system.pipe_file(f"{self._path}/{name}", data), place)
        except (FileNotFoundError, PermissionError, NotImplementedError) as error:
            raise OutputError(f"{place}: cannot write: {_why(error)}") from error

    def remove(self, name: str) -> None:
        """See `Storage`."""

        def removed() -> None:
            with suppress(FileNotFoundError):
                self._system.rm_file(f"{self._path}/{name}")

        patiently(removed, f"{self.address}/{name}")


def patiently(action: Callable[[], T], place: str) -> T:
    """Do something with a storage, and try again with growing waits if it fails.

    Args:
        action: What to do.
        place: What it is done with, for the message.

    Raises:
        OSError: At once, where no waiting helps: the file is not there or must not be read.
        StorageError: If it failed `TRIES` times.
    """
    for tried in range(1, TRIES + 1):
        try:
            return action()
        except (RmpeError, *FINAL):
            raise
        except Exception as error:  # every backend of fsspec raises classes of its own
            if type(error) is OSError and error.errno and error.errno not in PASSING:
                raise
            if tried == TRIES:
                raise StorageError(f"{place}: {_why(error)} (tried {TRIES} times)") from error
        time.sleep(FIRST_WAIT * 2 ** (tried - 1))
    raise AssertionError("the last try returns or raises")


def read_photo(address: str) -> Image:
    """An image file of this machine or of a storage.

    Raises:
        ImageError: If it is not there or is no image.
        StorageError: If the storage does not answer.
    """
    path = local_path(address)
    if path is not None:
        return patiently(lambda: _read_local(path), address)
    system, name = _opened(address)
    try:
        size = patiently(lambda: system.info(name).get("size"), address)
        if size is not None and size > MAX_BYTES:
            raise ImageError(
                f"{address}: larger than {MAX_BYTES >> 20} MiB, too large for a picture"
            )
        data = patiently(lambda: system.cat_file(name), address)
    except OSError as error:
        raise ImageError(f"{address}: cannot read the file: {_why(error)}") from error
    return read_image(_Named(data, address))


def copy_remote(address: str, local: Path) -> None:
    """Copy a remote file; errors as for `read_photo`."""
    system, name = _opened(address)
    try:
        patiently(lambda: system.get_file(name, str(local)), address)
    except OSError as error:
        raise ImageError(f"{address}: cannot read the file: {_why(error)}") from error


class _Named(io.BytesIO):
    """Bytes that know where they are from, for messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def _read_local(path: str) -> Image:
    try:
        return read_image(path)
    except ImageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in PASSING:
            raise error.__cause__ from error
        raise


def _opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it."""
    try:
        system, path = load_extra("fsspec.core", "farm").url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{address}: {error}: {install_command('cloud')}") from error
    return system, path


def _written(row: dict[str, Any]) -> float:
    for name in TIMES:
        if value := row.get(name):
            return float(value.timestamp() if hasattr(value, "timestamp") else value)
    return 0.0


def _why(error: BaseException) -> str:
    """The reason of a fault, in one line."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(reason).splitlines()[0]
