"""Which images to read, what to call their results, and which ids they have."""

import glob
import logging
import os
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePath
from typing import NoReturn

from rmpe.annotations.coco import parse_images, require_names
from rmpe.annotations.image_names import NameIndex
from rmpe.errors import DataError
from rmpe.files import read_json
from rmpe.media.images import SUFFIXES

logger = logging.getLogger(__name__)

# Bytes of the name of an output file before what is added to it, such as ``_keypoints.json``: file
# systems take 255 in all.
LONGEST_NAME = 220
# What a run of rmpe leaves: pictures and a video drawn, beside a journal.
DRAWN = "drawn"
DRAWN_VIDEO = "drawn.mp4"
JOURNAL = "journal.jsonl"
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".ts", ".mts", ".mpg", ".mpeg"}
    | {".wmv", ".flv", ".3gp"}
)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image to read.

    Attributes:
        path: Where it is, as the user gave it.
        file_name: Relative name for the results, with its suffix and ``/`` between folders; no two
            images share one.
        name: The same without its suffix (with it, where two would be the same), cut if it is very
            long: what output files are called.
    """

    path: Path
    file_name: str
    name: str


def is_video(source: str | Path) -> bool:
    """Whether a source is called like a video file."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def find_videos(sources: Sequence[str]) -> list[Path]:
    """Video files among the sources and directly in the folders among them, by their suffix."""
    videos: list[Path] = []
    for source in map(Path, sources):
        try:
            files = sorted(source.iterdir()) if source.is_dir() else [source]
        except OSError as error:
            raise DataError(f"{source}: cannot read: {error.strerror or error}") from error
        videos += [file for file in files if is_video(file) and not _is_drawn(file)]
    return videos


def find_media(
    sources: Sequence[str],
    listing: Iterable[str] | None = None,
    *,
    without: Path | None = None,
) -> tuple[list[ImageItem], list[Path]]:
    """Find the images that the user means, and the videos among them, which are left out.

    Arguments as for `find_images`.

    Returns:
        The images as from `find_images`, and the videos in their folders or named themselves.

    Raises:
        DataError: If a source does not exist, a folder cannot be read, or no image is found.
    """
    depths = list_files(sources, listing, without=without, suffixes=SUFFIXES | VIDEO_SUFFIXES)
    videos = sorted(path for path in depths if is_video(path))
    images = {path: depth for path, depth in depths.items() if not is_video(path)}
    if not images:
        _refuse_nothing(sources, videos)
    return named(images), videos


def find_images(
    sources: Sequence[str],
    listing: Iterable[str] | None = None,
    *,
    without: Path | None = None,
) -> list[ImageItem]:
    """Find the images that the user means.

    Folders are searched with all their subfolders for files with an image suffix; names that start
    with a dot are left out, and so are pictures that an earlier run has drawn. A file that is named
    itself is taken whatever its suffix.

    Args:
        sources: Files, folders, patterns with ``*``, ``?``, ``**``, or ``-`` for the lines of
            ``listing``.
        listing: One file, folder or pattern a line; standard input if not given.
        without: A folder that is left out even if it lies in a source, e.g. that of the results.

    Returns:
        The images sorted by path, each once.

    Raises:
        DataError: If a source does not exist, a folder cannot be read, or no image is found.
    """
    depths = list_files(sources, listing, without=without)
    if not depths:
        _refuse_nothing(sources, [])
    return named(depths)


def _refuse_nothing(sources: Sequence[str], videos: Sequence[Path]) -> NoReturn:
    where = ", ".join(sources) or "nothing"
    if videos:
        many = len(videos) > len(sources)
        line = shlex.join(sources if many else [str(video) for video in videos])
        said = f"no image in {where} but {len(videos)} videos" if many else f"{videos[0]}: a video"
        raise DataError(f"{said}: rmpe track {line}")
    raise DataError(f"no images found in {where} (looked for {' '.join(sorted(SUFFIXES))})")


def list_files(
    sources: Sequence[str],
    listing: Iterable[str] | None = None,
    *,
    without: Path | None = None,
    suffixes: frozenset[str] = SUFFIXES,
) -> dict[Path, int]:
    """The files that the user means; arguments as for `find_images`.

    Args:
        sources: Files, folders, patterns, or ``-``.
        listing: The lines that ``-`` stands for.
        without: A folder that is left out.
        suffixes: What folders are searched for.

    Returns:
        Path -> how many of its last parts lie below its source and so name it.

    Raises:
        DataError: If a source does not exist or a folder cannot be read.
    """
    depths: dict[Path, int] = {}
    seen: set[str] = set()  # text: a million paths as objects are half a gigabyte
    for source in _expand(sources, listing):
        left_out = _left_out(source, without) if without else None
        try:
            for path, depth in _files_of(source, suffixes):
                absolute = os.path.abspath(path)  # noqa: PTH100 - follows no links
                if absolute not in seen and not (left_out and left_out in Path(absolute).parents):
                    seen.add(absolute)
                    depths[path] = depth
        except OSError as error:
            raise DataError(f"{source}: cannot read: {error.strerror or error}") from error
    return depths


def _left_out(source: str, out: Path) -> Path:
    """What is not looked at in a source: the results' folder, or its pictures if the source is it.

    Results may be written into the folder of the photos themselves.
    """
    folder = _absolute(out)
    place = _absolute(Path(source))
    return folder / DRAWN if folder == place or folder in place.parents else folder


def named(depths: Mapping[Path, int]) -> list[ImageItem]:
    """Files sorted by path, each with a name of its own.

    Args:
        depths: As from `list_files`.
    """
    paths = sorted(depths)
    file_names = _distinct_names(paths, [depths[path] for path in paths])
    stems = [PurePath(name).with_suffix("").as_posix() for name in file_names]
    taken = {stem for stem, times in Counter(map(_folded, stems)).items() if times > 1}
    taken |= set(map(_folded, file_names))
    names = [
        stem if stem.casefold() not in taken else name
        for stem, name in zip(stems, file_names, strict=True)
    ]
    del taken, stems  # of a million files they are hundreds of megabytes
    names = _numbered(names)
    return [ImageItem(*item) for item in zip(paths, file_names, shortened(names), strict=True)]


def _numbered(names: list[str]) -> list[str]:
    """The same names, those that differ from an earlier one by case only with a number."""
    taken = Counter(map(_folded, names))
    if len(taken) == len(names):
        return names
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        key = name.casefold()
        seen[key] += 1
        own = name
        if seen[key] > 1:
            numbers = (f"{name}~{number}" for number in count(seen[key]))
            own = next(other for other in numbers if not taken[other.casefold()])
            taken[own.casefold()] += 1
        numbered.append(own)
    return numbered


def shortened(names: Sequence[str]) -> list[str]:
    """Names of output files with room for a suffix.

    A name whose last part has more than `LONGEST_NAME` bytes is cut and ends in a number, by which
    names that begin alike are kept apart.
    """
    taken = {name.casefold() for name in names}
    return [_shortened(name, taken) for name in names]


def _shortened(name: str, taken: set[str]) -> str:
    folder, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) <= LONGEST_NAME:
        return name
    for number in count(1):
        ending = f"~{number}"
        kept = os.fsencode(last)[: LONGEST_NAME - len(ending)].decode("utf-8", "ignore")
        short = f"{folder}{slash}{kept}{ending}"
        if short.casefold() not in taken:
            taken.add(short.casefold())
            return short
    raise AssertionError("numbers do not end")


def natural_order(item: ImageItem) -> tuple[tuple[str | int, ...], Path]:
    """A key to sort by: as people count, ``frame2`` before ``frame10``; padded numbers as ever."""
    parts = re.split(r"(\d+)", item.path.as_posix())
    return tuple(int(part) if part.isdecimal() else part for part in parts), item.path


def image_ids(items: Sequence[ImageItem], annotations: Path | None = None) -> dict[ImageItem, int]:
    """Give every image its id.

    Args:
        items: The images, sorted by path.
        annotations: A COCO file whose images have ``id`` and ``file_name``; matched by the longest
            end of each path.

    Returns:
        With ``annotations`` the ids found there: an image that it does not name is absent. Else the
        numbers in the file names if all are numbers and differ, else 1, 2, ... in the order given.

    Raises:
        DataError: If the annotations are not what they should be, or give one id to two images.
    """
    if annotations is not None:
        return _annotated_ids(items, annotations)
    stems = [item.path.stem for item in items]
    if all(stem.isascii() and stem.isdigit() for stem in stems) and len(
        {int(stem) for stem in stems}
    ) == len(stems):
        return {item: int(stem) for item, stem in zip(items, stems, strict=True)}
    return {item: number for number, item in enumerate(items, 1)}


def _annotated_ids(items: Sequence[ImageItem], annotations: Path) -> dict[ImageItem, int]:
    source = str(annotations)
    known = parse_images(read_json(annotations), source)
    require_names(known, source)
    index = NameIndex(image.file_name for image in known)
    # An image of the file belongs to the path that shares the longest ending with its name.
    closest: dict[int, list[tuple[tuple[bool, int], ImageItem]]] = {}
    for item in items:
        found, fit = index.closest(_absolute(item.path).as_posix())
        if len(found) == 1:
            closest.setdefault(found[0], []).append((fit, item))
    ids: dict[ImageItem, int] = {}
    for place, paths in closest.items():
        most = max(fit for fit, _ in paths)
        best = [item for fit, item in paths if fit == most]
        if len(best) > 1:
            raise DataError(
                f"{annotations}: {best[0].path} and {best[1].path} are both image"
                f" {known[place].id} there"
            )
        ids[best[0]] = known[place].id
    if items and not ids:
        example = f"; it names {known[0].file_name!r}" if known else ""
        raise DataError(
            f"{annotations}: names none of the images, such as {items[0].path}{example}"
        )
    return ids


def _expand(sources: Iterable[str], listing: Iterable[str] | None) -> Iterator[str]:
    for source in sources:
        if source != "-":
            yield source
            continue
        lines = sys.stdin if listing is None else listing
        yield from (line for text in lines if (line := text.rstrip("\r\n")))


def _files_of(source: str, suffixes: frozenset[str]) -> Iterator[tuple[Path, int]]:
    """The files of one source, each with how many parts of its path lie below the source."""
    if not source.strip():
        raise DataError("a source is empty text: name a file, a folder or a pattern")
    path = Path(source)
    if path.is_dir():
        yield from _files_below(path, suffixes)
    elif path.exists():
        yield path, 1
    elif glob.has_magic(source) and (matches := glob.glob(source, recursive=True)):  # noqa: PTH207 - may be absolute
        for match in map(Path, matches):
            if match.is_dir() and "**" not in source:
                yield from _files_below(match, suffixes)
            elif (
                match.is_file()
                and match.suffix.lower() in suffixes
                and not ("**" in source and any(map(_is_drawn, (match, *match.parents))))
            ):
                yield match, 1
    else:
        raise DataError(f"{source}: no such file or folder, and no pattern that matches one")


def _files_below(folder: Path, suffixes: frozenset[str]) -> Iterator[tuple[Path, int]]:
    for parent, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if JOURNAL in files and DRAWN in folders:
            folders.remove(DRAWN)
            logger.info("%s: drawn by an earlier run, left out", Path(parent, DRAWN))
        for name in files:
            if name == DRAWN_VIDEO and JOURNAL in files:
                continue
            if not name.startswith(".") and PurePath(name).suffix.lower() in suffixes:
                path = Path(parent, name)
                yield path, len(path.relative_to(folder).parts)


def _is_drawn(path: Path) -> bool:
    """Whether an earlier run has drawn it: such pictures and videos are no sources."""
    return path.name in (DRAWN, DRAWN_VIDEO) and (path.parent / JOURNAL).exists()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - takes ".." out, but follows no links


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot read the folder: {error.strerror}") from error


def _distinct_names(paths: Sequence[Path], depths: Sequence[int]) -> list[str]:
    """Names made of the last parts of each path: as many as given, more where two would be one."""
    names = [_last(path, depth) for path, depth in zip(paths, depths, strict=True)]
    depths = list(depths)
    while True:
        # Compared without case, because the results may be written to a file system that ignores
        # it. More folders keep files apart only where their folders differ.
        same = Counter(map(_folded, names))
        doubles = [index for index, name in enumerate(names) if same[name.casefold()] > 1]
        folders: dict[str, set[str]] = defaultdict(set)
        for index in doubles:
            folders[names[index].casefold()].add(str(_absolute(paths[index]).parent).casefold())
        clashes = [index for index in doubles if len(folders[names[index].casefold()]) > 1]
        if not any(depths[index] < len(_absolute(paths[index]).parts) - 1 for index in clashes):
            return names
        for index in clashes:
            depths[index] += 1
            names[index] = _last(paths[index], depths[index])


def _folded(name: str) -> str:
    """A name without case; the object itself where it has none, to hold a million of them once."""
    folded = name.casefold()
    return name if folded == name else folded


def _last(path: Path, depth: int) -> str:
    """The last parts of a path, ``/`` between them; a million paths are not held in parts."""
    return "/".join(_absolute(path).parts[1:][-depth:])
