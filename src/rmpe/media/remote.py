"""Sources on other machines: http(s), s3, gs and whatever else fsspec opens."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from rmpe.errors import ImageError, RmpeError, UsageError
from rmpe.extras import install_command
from rmpe.media.images import SUFFIXES

REMOTE = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
MAGIC = frozenset("*?[")
# A picture or clip larger than this is taken for a mistake.
LARGEST = 8 << 30


def is_remote(source: str) -> bool:
    """Whether a source is an address and not a path; ``file://`` is one, too."""
    return REMOTE.match(source) is not None


def fetch(sources: Sequence[str], folder: Path) -> dict[Path, str]:
    """Copy remote files into a folder.

    A pattern stands for the files that match it, a folder for the images below it.

    Args:
        sources: Addresses.
        folder: Where to put them; each source gets a subfolder, so that names never clash.

    Returns:
        Local file -> its address, in the order of the sources.

    Raises:
        UsageError: If fsspec, or what it needs for this kind of address, is not installed.
        ImageError: If an address cannot be read or stands for no file.
    """
    found: dict[Path, str] = {}
    for number, source in enumerate(sources):
        with _faults_of(source):
            system, paths = _open(source, SUFFIXES)
            shared = _shared(paths)
            for path in paths:
                local = folder / str(number) / Path(*_parts(path)[shared:])
                local.parent.mkdir(parents=True, exist_ok=True)
                size = system.info(path).get("size")
                if size is not None and size > LARGEST:
                    raise ImageError(f"{source}: {size} bytes are more than a picture or clip has")
                system.get_file(path, str(local))
                found[local] = system.unstrip_protocol(path)
    return found


def list_remote(
    sources: Sequence[str], folder: Path, suffixes: frozenset[str] = SUFFIXES
) -> dict[Path, str]:
    """What `fetch` would copy, without copying it.

    Args:
        sources: Addresses, as for `fetch`.
        folder: Where the files would lie.
        suffixes: What folders are searched for.

    Returns:
        Local file -> its address, in the order of the sources.

    Raises:
        UsageError: As `fetch`.
        ImageError: As `fetch`.
    """
    found: dict[Path, str] = {}
    for number, source in enumerate(sources):
        with _faults_of(source):
            system, paths = _open(source, suffixes)
            shared = _shared(paths)
            for path in paths:
                local = folder / str(number) / Path(*_parts(path)[shared:])
                found[local] = system.unstrip_protocol(path)
    return found


@contextmanager
def _faults_of(source: str) -> Iterator[None]:
    """Faults of a source as one line that names it."""
    try:
        yield
    except ImportError as error:
        raise UsageError(f"{source}: {error}: {install_command('cloud')}") from error
    except RmpeError:
        raise
    except Exception as error:  # every backend of fsspec raises classes of its own
        reason = str(error) or type(error).__name__
        raise ImageError(f"{source}: cannot be read: {reason.splitlines()[0]}") from error


def _open(source: str, suffixes: frozenset[str]) -> tuple[Any, list[str]]:
    """The file system of an address, and the files it stands for."""
    system, path = import_module("fsspec.core").url_to_fs(source)
    if MAGIC & set(path) and not source.lower().startswith("http"):
        paths = sorted(system.glob(path))
    elif not source.lower().startswith("http") and system.isdir(path):
        paths = sorted(
            name for name in system.find(path) if PurePosixPath(name).suffix.lower() in suffixes
        )
    else:
        paths = [path]
    if not paths:
        raise ImageError(f"{source}: no file there")
    return system, paths


def _parts(path: str) -> tuple[str, ...]:
    return PurePosixPath(path.split("?", maxsplit=1)[0]).parts


def _shared(paths: list[str]) -> int:
    """How many of their first parts all paths share; the last part of each stays its own."""
    parts = [_parts(path) for path in paths]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return shared
