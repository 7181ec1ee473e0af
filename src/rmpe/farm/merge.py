"""From parts to the files that ``rmpe predict`` and ``rmpe track`` write."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from rmpe.errors import UsageError
from rmpe.farm.manifest import Item, Run, read_shard
from rmpe.farm.parts import Row, read_ids, read_mark, read_part
from rmpe.farm.storage import Storage
from rmpe.media.sources import shortened
from rmpe.video import NONE
from rmpe.write import FORMATS, VIDEO_FORMATS, require_ids, write_formats
from rmpe.write.foreign import require_joints
from rmpe.write.journal import JournalRecord

# Shards whose rows are held at a time: ids may follow another order than shards do.
HELD = 64


def photo_records(storage: Storage, run: Run, shards: Sequence[int]) -> Iterator[JournalRecord]:
    """The photos of shards that have results, in the order of their ids, as a journal gives them.

    Args:
        storage: Where the run is.
        run: The run.
        shards: Finished shards of photos.

    Raises:
        DataError: If a part is damaged.
        StorageError: If the storage does not answer.
    """

    @lru_cache(HELD)
    def good_rows(shard: int) -> list[Row]:
        return [row for row in read_part(storage, run, shard) if not row.error]

    ids = [read_ids(storage, shard) for shard in shards]
    if not ids:
        return
    owners = np.repeat(np.array(shards, np.int64), [len(some) for some in ids])
    places = np.concatenate([np.arange(len(some)) for some in ids])
    for number in np.argsort(np.concatenate(ids), kind="stable"):
        yield _record(good_rows(int(owners[number]))[int(places[number])], run, None)


def video_records(storage: Storage, run: Run, shard: int) -> Iterator[JournalRecord]:
    """The frames of a video; errors as for `photo_records`."""
    fps = read_mark(storage, shard).fps
    for row in read_part(storage, run, shard):
        if not row.error:
            yield _record(row, run, fps)


def _as_given(path: str, folder: str) -> str:
    """A file's path as ``rmpe predict`` has it in the folder where the run was planned."""
    return os.path.relpath(path, folder) if folder and Path(path).is_absolute() else path


def _record(row: Row, run: Run, fps: float | None) -> JournalRecord:
    assert row.image_id is not None
    assert row.size is not None
    assert row.poses is not None
    return JournalRecord(
        row.image_id,
        row.file,
        row.name,
        _as_given(row.path, run.folder),
        row.size,
        row.poses,
        row.seconds or 0.0,
        fps=fps,
    )


def check_formats(run: Run, formats: Sequence[str]) -> None:
    """That the formats can hold what a run found.

    Raises:
        UsageError: If one has none of its joints, needs ids that it has not, or is for videos only
            and there are photos.
    """
    require_joints(formats, run.skeleton)
    if run.following.tracker == NONE:
        require_ids(formats)
    if run.photos and (wrong := [name for name in formats if name not in FORMATS]):
        raise UsageError(f"--format {wrong[0]}: for videos only, this run has photos")


def write_results(
    storage: Storage, run: Run, done: Sequence[int], formats: Sequence[str], out: Path
) -> tuple[list[str], list[str]]:
    """Write the results of photos, and below them those of each video.

    Args:
        storage: Where the run is.
        run: The run.
        done: The shards that are merged, in their order.
        formats: Names of `rmpe.write.VIDEO_FORMATS`; checked by `check_formats`.
        out: The folder.

    Returns:
        The files, and a line for each that failed.

    Raises:
        DataError: If a part is damaged.
    """
    photos = [shard for shard in done if shard < run.first_unnamed]
    videos = [shard for shard in done if shard >= run.first_video]
    files: list[str] = []
    unwritten: list[str] = []
    if run.photos:
        written, failed = write_formats(
            FORMATS, formats, lambda: photo_records(storage, run, photos), run.skeleton, out
        )
        files += written
        unwritten += failed
    items = [read_shard(storage.address, shard)[0] for shard in videos]
    for shard, own in zip(videos, _folders(items), strict=True):
        if read_mark(storage, shard).failed:
            continue
        records = partial(video_records, storage, run, shard)
        written, failed = write_formats(VIDEO_FORMATS, formats, records, run.skeleton, out / own)
        files += written
        unwritten += failed
    return files, unwritten


def _folders(videos: Sequence[Item]) -> list[str]:
    """A folder for each video, called after it as its frames are."""
    return shortened([video.name for video in videos])
