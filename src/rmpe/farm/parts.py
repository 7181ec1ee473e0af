"""The results of a shard: ``people-N.parquet``, then ``images-N.parquet``, which commits it.

Both depend on the shard and the settings alone: who does a shard twice writes the same bytes.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import __version__
from rmpe.config import from_mapping, to_mapping
from rmpe.errors import DataError, RmpeError
from rmpe.extras import load_extra
from rmpe.farm.manifest import Run
from rmpe.farm.storage import Entry, Storage
from rmpe.fields import table
from rmpe.files import parse_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

IMAGES = "images"
PEOPLE = "people"
FAILED = "failed"
# No Parquet file is smaller: a part of fewer bytes was never written to its end.
SMALLEST = 12
# What pyarrow and NumPy raise for bytes that are no part; ArrowInvalid is a ValueError.
DAMAGE = (ValueError, TypeError, NotImplementedError, MemoryError)


@dataclass(frozen=True)
class Row:
    """What came of a photo, or of a frame of a video.

    Attributes:
        image_id: The photo's id, or the number of the frame; ``None`` where there is neither.
        file: Relative name for the results.
        name: What its own output files are called.
        path: Absolute path or address of the photo or the video.
        size: (height, width); ``None`` if it could not be read.
        poses: Its people; ``None`` if it failed.
        error: Why, in one line; empty if nothing failed.
        seconds: When the frame is shown; ``None`` for a photo.
    """

    image_id: int | None
    file: str
    name: str
    path: str
    size: tuple[int, int] | None = None
    poses: Poses | None = None
    error: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Part:
    """What a shard's commit mark says.

    Attributes:
        shard: Its number.
        photos: Photos in it; a video counts as one.
        people: People found.
        failed: Rows with an error.
        fps: Frames a second of its video, 0 where nobody knows; ``None`` for photos.
    """

    shard: int
    photos: int
    people: int
    failed: int
    fps: float | None = None


def name_of(kind: str, shard: int) -> str:
    """The name of a part, or of the note why there is none."""
    return f"{kind}-{shard:06d}.{'json' if kind == FAILED else 'parquet'}"


def finished(entries: Mapping[str, Entry]) -> dict[int, Entry]:
    """The shards that are committed, each with the entry of its mark.

    A shard whose people are gone in the meantime is none of them.
    """
    return {
        number: entry
        for name, entry in entries.items()
        if (number := _number(name, IMAGES, "parquet")) is not None
        and entry.size >= SMALLEST
        and (people := entries.get(name_of(PEOPLE, number))) is not None
        and people.size >= SMALLEST
    }


def given_up(storage: Storage, entries: Mapping[str, Entry]) -> dict[int, str]:
    """The shards that a run has given up and nobody has finished since, each with the reason."""
    done = finished(entries)
    reasons = {}
    for name in sorted(entries):
        number = _number(name, FAILED, "json")
        if number is not None and number not in done:
            place = f"{storage.address}/{name}"
            note = table(parse_json(storage.read(name), place), place)
            reasons[number] = str(note.get("reason"))
    return reasons


def give_up(storage: Storage, shard: int, reason: str) -> None:
    """Note why a shard was given up; the next run tries it again."""
    storage.write(name_of(FAILED, shard), json.dumps({"shard": shard, "reason": reason}).encode())


def write_part(
    storage: Storage, run: Run, shard: int, rows: Sequence[Row], fps: float | None = None
) -> Part:
    """Write the results of a shard and commit it.

    Args:
        storage: Where.
        run: The run.
        shard: The shard's number.
        rows: One a photo, in the order of the manifest; one a frame of a video.
        fps: Frames a second, for a video.

    Raises:
        OutputError: If the storage refuses.
        StorageError: If it does not answer.
    """
    part = Part(
        shard,
        run.size(shard),
        sum(len(row.poses) for row in rows if row.poses is not None),
        sum(bool(row.error) for row in rows),
        fps,
    )
    about = {
        "rmpe": __version__,
        "settings": json.dumps(run.settings, sort_keys=True),
        "skeleton": json.dumps(to_mapping(run.skeleton)),
        "part": json.dumps(to_mapping(part)),
    }
    storage.write(name_of(PEOPLE, shard), _encoded(*_people(rows, run.skeleton), about))
    storage.write(name_of(IMAGES, shard), _encoded(*_images(rows), about))
    storage.remove(name_of(FAILED, shard))
    return part


def read_mark(storage: Storage, shard: int) -> Part:
    """What the commit mark of a shard says.

    Raises:
        DataError: If it is not there or damaged.
        StorageError: If the storage does not answer.
    """
    return _Reader(storage, IMAGES, shard).part


def read_errors(storage: Storage, shard: int) -> list[str]:
    """Why photos of a shard failed; errors as for `read_mark`."""
    reader = _Reader(storage, IMAGES, shard)
    try:
        errors = reader.columns(["error"])["error"].to_pylist()
    except ValueError as error:  # bytes that are no text
        raise reader.damaged(error) from error
    return [error for error in errors if error]


def read_ids(storage: Storage, shard: int) -> NDArray[np.int64]:
    """The ids of the photos of a shard that have results; errors as for `read_mark`."""
    reader = _Reader(storage, IMAGES, shard)
    columns = reader.columns(["image_id", "error"])
    try:
        rows = zip(columns["image_id"].to_pylist(), columns["error"].to_pylist(), strict=True)
        return np.array([number for number, error in rows if not error], np.int64)
    except (ValueError, TypeError) as error:  # a photo without id
        raise reader.damaged(error) from error


def read_part(storage: Storage, run: Run, shard: int) -> Iterator[Row]:
    """The rows of a shard as they were written.

    Raises:
        DataError: If a part is missing, damaged or of another run.
        StorageError: If the storage does not answer.
    """
    images = _Reader(storage, IMAGES, shard)
    people = _Reader(storage, PEOPLE, shard)
    for reader in (images, people):
        if reader.settings != run.settings:
            raise DataError(f"{reader.place}: of another run; delete it and run again")
    if people.part != images.part or people.rows != images.part.people:
        raise DataError(f"{people.place}: does not fit {images.place}; delete both and run again")
    try:
        rows = list(_rows(images, people, run.skeleton))
    except (ValueError, TypeError, OverflowError) as error:  # values that no part has
        raise images.damaged(error) from error
    yield from rows


def _rows(images: "_Reader", people: "_Reader", skeleton: Skeleton) -> Iterator[Row]:
    joints = len(skeleton)
    found = people.columns(["box", "stn_box", "keypoints", "score", "track_id"])
    boxes = _flat(found["box"], 4)
    regions = _flat(found["stn_box"], 4)
    points = _flat(found["keypoints"], 3 * joints).reshape(-1, joints, 3)
    scores = found["score"].to_numpy()
    tracks = found["track_id"].fill_null(-1).to_numpy()
    names = ["image_id", "file", "name", "path", "width", "height", "people", "error", "seconds"]
    columns = images.columns(names)
    end = 0
    for image_id, file, name, path, width, height, count, error, seconds in zip(
        *(columns[column].to_pylist() for column in names), strict=True
    ):
        size = None if width is None else (height, width)
        if not error and (image_id is None or size is None or height is None):
            raise ValueError("a photo without id or size")
        if count is None or not 0 <= count <= len(scores) - end or None in (file, name, path):
            raise ValueError("a photo without name or people")
        some = slice(end, end + count)
        end = some.stop
        poses = None
        if not error:
            poses = Poses(
                points[some, :, :2],
                points[some, :, 2],
                scores[some],
                boxes[some],
                skeleton,
                tracks[some],
                regions[some],
            )
        yield Row(image_id, file, name, path, size, poses, error or "", seconds)


class _Reader:
    """An open part."""

    def __init__(self, storage: Storage, kind: str, shard: int) -> None:
        name = name_of(kind, shard)
        self.place = f"{storage.address}/{name}"
        parquet = load_extra("pyarrow.parquet", "farm")
        data = storage.read(name)
        try:
            self._file = parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
            self.rows: int = self._file.metadata.num_rows
            about = self._file.schema_arrow.metadata or {}
            self.settings = parse_json(about[b"settings"], self.place)
            self.part = from_mapping(Part, parse_json(about[b"part"], self.place), self.place)
        except (*DAMAGE, KeyError, OSError, RmpeError) as error:
            raise self.damaged(error) from error
        if self.part.shard != shard:
            raise DataError(f"{self.place}: holds shard {self.part.shard}; delete it and run again")

    def columns(self, names: list[str]) -> dict[str, Any]:
        """Columns by name."""
        try:
            read = self._file.read(columns=names)
            return {name: read[name].combine_chunks() for name in names}
        except (*DAMAGE, KeyError, OSError) as error:
            raise self.damaged(error) from error

    def damaged(self, error: Exception) -> DataError:
        """What to say of a part that cannot be read."""
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return DataError(f"{self.place}: damaged ({reason}); delete it and run again")


def _number(name: str, kind: str, ending: str) -> int | None:
    """The shard whose part a file is."""
    start, _, rest = name.partition("-")
    number, _, last = rest.partition(".")
    return int(number) if (start, last) == (kind, ending) and number.isdecimal() else None


def _people(rows: Sequence[Row], skeleton: Skeleton) -> tuple[Any, list[Any]]:
    """Schema and columns of the people, one row a person."""
    pyarrow = load_extra("pyarrow", "farm")
    joints = len(skeleton)
    box = pyarrow.list_(pyarrow.float32(), 4)
    schema = pyarrow.schema(
        [
            ("image_id", pyarrow.int64()),
            ("file", pyarrow.string()),
            ("person", pyarrow.int32()),
            ("score", pyarrow.float32()),
            ("box", box),
            ("stn_box", box),
            ("keypoints", pyarrow.list_(pyarrow.float32(), 3 * joints)),
            ("track_id", pyarrow.int64()),
            ("seconds", pyarrow.float64()),
        ]
    )
    seen = [(row, row.poses) for row in rows if row.poses is not None]
    poses = Poses.merge([Poses.empty(skeleton), *(found for _, found in seen)])
    each = [(row, person) for row, found in seen for person in range(len(found))]
    points = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    columns = [
        [row.image_id for row, _ in each],
        [row.file for row, _ in each],
        [person for _, person in each],
        poses.scores,
        _fixed(poses.boxes, 4),
        _fixed(poses.stn_boxes, 4),
        _fixed(points, 3 * joints),
        [None if track < 0 else track for track in poses.track_ids.tolist()],
        [row.seconds for row, _ in each],
    ]
    return schema, columns


def _images(rows: Sequence[Row]) -> tuple[Any, list[Any]]:
    """Schema and columns of the photos or frames."""
    pyarrow = load_extra("pyarrow", "farm")
    schema = pyarrow.schema(
        [
            ("image_id", pyarrow.int64()),
            ("file", pyarrow.string()),
            ("name", pyarrow.string()),
            ("path", pyarrow.string()),
            ("width", pyarrow.int32()),
            ("height", pyarrow.int32()),
            ("people", pyarrow.int32()),
            ("error", pyarrow.string()),
            ("seconds", pyarrow.float64()),
        ]
    )
    columns = [
        [row.image_id for row in rows],
        [row.file for row in rows],
        [row.name for row in rows],
        [row.path for row in rows],
        [row.size[1] if row.size else None for row in rows],
        [row.size[0] if row.size else None for row in rows],
        [0 if row.poses is None else len(row.poses) for row in rows],
        [row.error or None for row in rows],
        [row.seconds for row in rows],
    ]
    return schema, columns


def _encoded(schema: Any, columns: list[Any], about: dict[str, str]) -> bytes:
    """A Parquet file."""
    pyarrow = load_extra("pyarrow", "farm")
    parquet = load_extra("pyarrow.parquet", "farm")
    arrays = [
        column if isinstance(column, pyarrow.Array) else pyarrow.array(column, kind.type)
        for column, kind in zip(columns, schema, strict=True)
    ]
    made = pyarrow.Table.from_arrays(arrays, schema=schema.with_metadata(about))
    buffer = io.BytesIO()
    parquet.write_table(made, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _fixed(values: NDArray[np.float32], width: int) -> Any:
    """Rows of ``width`` numbers as a column."""
    pyarrow = load_extra("pyarrow", "farm")
    flat = np.ascontiguousarray(values, np.float32).ravel()
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(flat), width)


def _flat(column: Any, width: int) -> NDArray[np.float32]:
    """The inverse of `_fixed`: ``(N, width)``."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, np.float32).reshape(-1, width)
