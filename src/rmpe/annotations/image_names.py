"""Which image of an annotation file a path means, and which file an image's name means.

Programs write the same image as ``photos/1.jpg`` (with either slash), ``upload/4/1.jpg`` or
``upload/4/0a1b2c3d-1.jpg``. So names are compared from their ends.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from rmpe.files import is_file

# What labelling programs put around the name of an uploaded file.
PREFIX = re.compile(r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){0,3}(?:-[0-9a-f]{12})?-(?=.)")
SUFFIX = re.compile(r"_(jpe?g|png|bmp|webp|tiff?)\.rf\.[0-9A-Za-z]+\.[a-z]+$")


def parts_of(name: str) -> tuple[str, ...]:
    """The folders and the file of a path, with either slash."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def bare(name: str) -> str:
    """A file's name without what an upload added to it."""
    return SUFFIX.sub(r".\1", PREFIX.sub("", name))


class NameIndex:
    """Names, to be found by the longest ending that they share with another name."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._parts = [parts_of(name) for name in self.names]
        self._by_file: dict[str, list[int]] = defaultdict(list)
        self._by_bare: dict[str, list[int]] = defaultdict(list)
        for index, parts in enumerate(self._parts):
            if parts:
                self._by_file[parts[-1]].append(index)
                self._by_bare[bare(parts[-1])].append(index)

    def find(self, name: str) -> int | None:
        """The index of the name that is meant; ``None`` if there is none or several may be."""
        found, _ = self.closest(name)
        return found[0] if len(found) == 1 else None

    def closest(self, name: str) -> tuple[list[int], tuple[bool, int]]:
        """The names that fit a path best, and how well.

        How well says whether a whole name is an ending of the path, and how many parts they share.
        Where no file's name is the same, names without what uploads add to them are compared.
        """
        parts = parts_of(name)
        if not parts:
            return [], (False, 0)
        fits: dict[int, tuple[bool, int]] = {}
        for index in self._by_file[parts[-1]]:
            length = _shared(parts, self._parts[index])
            fits[index] = (length == len(self._parts[index]), length)
        if not fits:
            return list(self._by_bare[bare(parts[-1])]), (False, 0)
        best = max(fits.values())
        return [index for index, fit in fits.items() if fit == best], best


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


class ImageFolder:
    """The image files below a folder, found by the names that annotations give them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: NameIndex | None = None

    def find(self, name: str) -> Path | None:
        """The file that a name means; ``None`` if there is none.

        It is the longest ending of the name that is there, else the one file below the folder that
        shares the longest ending with it.
        """
        parts = parts_of(name)
        while ".." in parts:  # nothing outside the folder is meant
            parts = parts[parts.index("..") + 1 :]
        for start in range(len(parts)):
            path = self.folder.joinpath(*parts[start:])
            if is_file(path):
                return path
        if self._index is None:
            self._index = NameIndex(_files_below(self.folder))
        found = self._index.find("/".join(parts))
        return None if found is None else self.folder / self._index.names[found]


def _files_below(folder: Path) -> list[str]:
    return [
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".")
    ]
