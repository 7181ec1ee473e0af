"""The journal: results on disk as they come, so that a stopped run can go on.

A file of JSON Lines. The first line holds the settings of the run, every other line one image that
was done, with its poses, or one that failed. Only the place of each record is kept in memory; final
files are streamed from the journal (`Journal.records`) in the order of the image ids.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rmpe import fields
from rmpe.atomic import why_not_written
from rmpe.errors import DataError, OutputError
from rmpe.files import parse_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

VERSION = 1
DIGITS = 32  # of a hash
# What a line says beside the poses.
ENTRIES = ("image_id", "file_name", "name", "path", "size", "seconds", "stamp", "fps")


@dataclass(frozen=True)
class JournalRecord:
    """The result of one image, or of one frame of a video.

    Attributes:
        image_id: Its id, unique in a run.
        file_name: Its relative name with its suffix.
        name: What its own output files are called, without a suffix.
        path: Where it was read from.
        size: (height, width).
        poses: Its people.
        seconds: When a frame of a video is shown; 0 for an image.
        stamp: Size, time and contents of the file it was read from, see `file_stamp`; empty for a
            frame of a video.
        fps: Frames a second of the video that it is a frame of, 0 where nobody knows; ``None`` for
            an image.
    """

    image_id: int
    file_name: str
    name: str
    path: str
    size: tuple[int, int]
    poses: Poses
    seconds: float = 0.0
    stamp: str = ""
    fps: float | None = None


@dataclass(frozen=True)
class Failure:
    """An image that gave no result, and why (one line)."""

    file_name: str
    reason: str


def file_stamp(data: bytes, status: os.stat_result) -> str:
    """Size, time of change and a hash of a file: by the first two it is known again at no cost.

    Args:
        data: Its bytes.
        status: From before they were read: a file that changes meanwhile is no longer the same.
    """
    return f"{status.st_size}:{status.st_mtime_ns}:{hashlib.sha256(data).hexdigest()[:DIGITS]}"


def is_same_file(path: Path, stamp: str) -> bool:
    """Whether a file still has the contents of ``stamp``; a file that is gone is no other file."""
    try:
        status = path.stat()
        size, time, digest = stamp.split(":")
        if (str(status.st_size), str(status.st_mtime_ns)) == (size, time):
            return True
        if not path.is_file():
            return False  # a pipe would never end
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS] == digest
    except (OSError, ValueError):
        return True


class Journal:
    """An open journal; use it in a ``with`` block.

    Attributes:
        path: The file.
        failures: The images that failed in this run and have not been done since, by file name;
            those of an earlier run are tried again, so they do not count.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool = False) -> None:
        """Start a journal, or go on with one.

        Args:
            path: The file; its folder is made if need be.
            settings: All that changes results, as JSON has it; a journal is only resumed under the
                same.
            resume: Go on with the journal if there is one. A last line that was cut off is dropped.

        Raises:
            DataError: If the journal is damaged or was written under other settings.
            OutputError: If it cannot be written.
        """
        self.path = path
        self.failures: dict[str, Failure] = {}
        self._places: dict[int, int] = {}  # image id -> first byte of its record
        self._end = 0
        header = {"rmpe_journal": VERSION, "settings": json.loads(json.dumps(settings))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a record is either handed to the system or still ours, nothing lies
            # between.
            self._file = path.open("r+b" if resume and path.exists() else "w+b", buffering=0)
        except OSError as error:
            raise OutputError(why_not_written(path, error)) from error
        try:
            self._read_back(header)
            if self._end == 0:
                self._append([header])
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many images are done."""
        return len(self._places)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._places

    def remaining(self, file_names: Mapping[int, str]) -> list[int]:
        """The ids that are still to do, failed ones included.

        Args:
            file_names: Image id -> file name of all images of the run.

        Raises:
            DataError: If the journal holds an image that is not among them or has another id now.
        """
        for line in self._lines():
            image_id = line["image_id"]
            was = line["file_name"]
            if stamp := line.get("stamp"):
                path = Path(line["path"])
                if not is_same_file(path, stamp):
                    raise DataError(
                        f"{path}: has changed since the run that is to be resumed;"
                        " start anew without --resume"
                    )
            if was != (now := file_names.get(image_id)):
                raise DataError(
                    f"{self.path}: image {image_id} was {was}, now it is {now or 'gone'}; resume"
                    " with the same sources, or start anew without --resume"
                )
        return [image_id for image_id in file_names if image_id not in self._places]

    def append(self, results: Iterable[JournalRecord | Failure]) -> None:
        """Write the results of a batch; when this returns they survive the death of the process.

        Raises:
            OutputError: If they cannot be written; what was written before stays whole.
        """
        results = list(results)
        places = self._append([_to_json(result) for result in results])
        for result, place in zip(results, places, strict=True):
            if isinstance(result, Failure):
                self.failures[result.file_name] = result
            else:
                self._places[result.image_id] = place
                self.failures.pop(result.file_name, None)

    def records(self, skeleton: Skeleton) -> Iterator[JournalRecord]:
        """All images done, in the order of their ids, one in memory at a time.

        Args:
            skeleton: The one the poses were written with.

        Raises:
            DataError: If the poses of an image are damaged, or were written with another skeleton.
        """
        for line in self._lines():
            place = f"{self.path}: image {line['image_id']}"
            try:
                poses = Poses.from_dict(fields.table(line["poses"], f"{place}: poses"), skeleton)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise DataError(
                    f"{place} is damaged ({error}); delete its line, or start anew without --resume"
                ) from error
            entries = {name: line[name] for name in ENTRIES if name in line}
            yield JournalRecord(**entries | {"size": tuple(line["size"])}, poses=poses)

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            for _, place in sorted(self._places.items()):
                file.seek(place)
                yield checked_record(parse_json(file.readline(), str(self.path)), str(self.path))

    def _append(self, lines: list[dict[str, Any]]) -> list[int]:
        """Write lines at the end; where each starts."""
        encoded = [
            json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n"
            for line in lines
        ]
        try:
            _write_all(self._file.fileno(), b"".join(encoded))
        except OSError as error:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            raise OutputError(why_not_written(self.path, error)) from error
        *starts, self._end = accumulate(map(len, encoded), initial=self._end)
        return starts

    def _read_back(self, header: dict[str, Any]) -> None:
        """Find every record of an older run, and drop a last line that was cut off."""
        with self.path.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                if not text.endswith(b"\n"):
                    break
                place = f"{self.path}: line {number}"
                try:
                    line = parse_json(text, place)
                    if number > 1 and not isinstance(line, dict):
                        raise DataError(f"{place} is {fields.shown(line)}, not a table")
                    if number > 1 and "poses" in line:
                        self._places[checked_record(line, place)["image_id"]] = self._end
                except DataError as error:
                    raise DataError(
                        f"{place} is damaged; delete that line, or start anew without --resume"
                        f" ({str(error).removeprefix(place).lstrip(': ')})"
                    ) from error
                if number == 1:
                    self._check_header(line, header)
                self._end += len(text)
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _check_header(self, found: Any, header: dict[str, Any]) -> None:
        was = found.get("settings") if isinstance(found, dict) else None
        if not isinstance(was, dict) or found.get("rmpe_journal") != VERSION:
            raise DataError(
                f"{self.path}: not a journal of this version of rmpe; start anew without --resume"
            )
        if differs := changed_settings(was, header["settings"]):
            raise DataError(
                f"{self.path}: cannot resume, {differs}; use the same settings, or start anew"
                " without --resume"
            )


def changed_settings(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two sets of settings, for a message; empty if nothing does."""
    changed = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    if not changed:
        return ""
    key = changed[0]
    more = f" ({len(changed) - 1} more differ)" if len(changed) > 1 else ""
    return f"{fields.cut(key)} was {_said(was.get(key))} and is now {_said(now.get(key))}{more}"


def checked_record(line: Any, place: str) -> dict[str, Any]:
    """A record's line, everything but its poses checked.

    Raises:
        DataError: If a value is not what `Journal.append` writes.
    """
    record = fields.table(line, place)
    for key in ("image_id", "file_name", "name", "path", "size", "poses"):
        if key not in record:
            raise DataError(f"{place}: it has no {key!r}")
    fields.whole(record["image_id"], f"{place}: image_id")
    if isinstance(record["image_id"], float):
        raise DataError(f"{place}: image_id is {record['image_id']}, not a whole number")
    for key in ("file_name", "name", "path", "stamp"):
        fields.text(record.get(key, ""), f"{place}: {key}")
    fields.number(record.get("seconds", 0), f"{place}: seconds")
    if record.get("fps") is not None:
        fields.number(record["fps"], f"{place}: fps")
    size = fields.items(record["size"], f"{place}: size")
    if len(size) != 2 or not all(fields.whole(side, f"{place}: size") >= 0 for side in size):
        raise DataError(f"{place}: size must be a height and a width")
    return record


def _said(value: Any) -> str:
    """A setting in a message: plain values as they are, others by their kind."""
    plain = value is None or isinstance(value, str | int | float)
    return fields.cut(repr(value)) if plain else fields.shown(value)


def _to_json(result: JournalRecord | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return asdict(result)
    return {name: getattr(result, name) for name in ENTRIES} | {"poses": result.poses.to_dict()}


def _write_all(descriptor: int, data: bytes) -> None:
    """Write everything: a nearly full disk takes a part first and only then reports the error."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
