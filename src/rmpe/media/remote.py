"""Sources on other machines: http(s), s3, gs and whatever else fsspec opens."""

import re
from collections.abc import Sequence
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
        try:
            system, paths = _open(source)
            for path in paths:
                local = folder / str(number) / _relative(path, paths)
                local.parent.mkdir(parents=True, exist_ok=True)
                size = system.info(path).get("size")
                if size is not None and size > LARGEST:
                    raise ImageError(f"{source}: {size} bytes are more than a picture or clip has")
                system.get_file(path, str(local))
                found[local] = system.unstrip_protocol(path)
        except ImportError as error:
            raise UsageError(f"{source}: {error}: {install_command('cloud')}") from error
        except RmpeError:
            raise
        except Exception as error:  # every backend of fsspec raises classes of its own
            reason = str(error) or type(error).__name__
            raise ImageError(f"{source}: cannot be read: {reason.splitlines()[0]}") from error
    return found


def _open(source: str) -> tuple[Any, list[str]]:
    """The file system of an address, and the files it stands for."""
    system, path = import_module("fsspec.core").url_to_fs(source)
    if MAGIC & set(path) and not source.lower().startswith("http"):
        paths = sorted(system.glob(path))
    elif not source.lower().startswith("http") and system.isdir(path):
        paths = sorted(
            name for name in system.find(path) if PurePosixPath(name).suffix.lower() in SUFFIXES
        )
    else:
        paths = [path]
    if not paths:
        raise ImageError(f"{source}: no file there")
    return system, paths


def _relative(path: str, paths: list[str]) -> Path:
    """A file's path below the folder that all of ``paths`` share; without what only a URL has."""
    parts = [PurePosixPath(name.split("?")[0]).parts for name in paths]
    own = PurePosixPath(path.split("?", maxsplit=1)[0]).parts
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == own[shared] for one in parts):
        shared += 1
    return Path(*own[shared:])
