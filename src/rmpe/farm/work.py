"""A worker: the loaded models, and what they make of a shard."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from rmpe.boxes import size_of
from rmpe.errors import RmpeError, StorageError
from rmpe.farm.manifest import Item, check_settings, read_run, read_shard
from rmpe.farm.parts import Part, Row, write_part
from rmpe.farm.storage import copy_remote, local_path, open_storage, read_photo
from rmpe.media.arrays import Image
from rmpe.media.sources import shortened
from rmpe.media.video import Video
from rmpe.streaming import Result, chunks, process_chunk


@dataclass(frozen=True)
class Outcome:
    """What came of a shard.

    Attributes:
        shard: Its number.
        photos: Photos in it that are done; a video counts as one.
        people: People found.
        failed: Photos that failed, or a video.
        seconds: What it took.
        error: Why it was given up; empty if it was not.
    """

    shard: int
    photos: int = 0
    people: int = 0
    failed: int = 0
    seconds: float = 0.0
    error: str = ""


class Worker:
    """Does the shards of one run, one at a time."""

    def __init__(self, address: str) -> None:
        """Load the models.

        Args:
            address: Where the run is.

        Raises:
            RmpeError: If this machine cannot do the run: models are missing or others.
        """
        self._storage = open_storage(address)
        self._run = read_run(self._storage)
        self._estimator = self._run.pipeline.load()
        check_settings(self._run, self._estimator, self._storage.address)

    def shard(self, shard: int) -> Outcome:
        """Do a shard and commit it.

        Raises:
            StorageError: If the storage does not answer.
            RmpeError: If the manifest is damaged or the results must not be written.
        """
        started = time.perf_counter()
        items = self.items(shard)
        fps = None
        if shard >= self._run.first_video:
            rows, fps = self._video(items[0])
        elif shard >= self._run.first_unnamed:
            rows = [self._unnamed(item) for item in items]
        else:
            rows = list(self._photos(items))
        return outcome(write_part(self._storage, self._run, shard, rows, fps), started)

    def items(self, shard: int) -> list[Item]:
        """The photos of a shard, or its video; errors as for `read_shard`."""
        return read_shard(self._storage.address, shard)

    def alone(self, shard: int, place: int) -> Row:
        """One photo of a shard, no video, without the others; errors as for `shard`."""
        item = self.items(shard)[place]
        if shard >= self._run.first_unnamed:
            return self._unnamed(item)
        (row,) = self._photos([item])
        return row

    def commit(self, shard: int, rows: Sequence[Row]) -> Outcome:
        """Commit a shard whose photos were done one by one; errors as for `shard`."""
        return outcome(write_part(self._storage, self._run, shard, rows), time.perf_counter())

    def _unnamed(self, item: Item) -> Row:
        reason = f"{item.path}: not named in {self._run.pipeline.annotations}"
        return Row(None, item.file, item.name, item.path, error=reason)

    def _photos(self, items: Sequence[Item]) -> Iterator[Row]:
        """What came of photos, in order; the next remote ones are read in the meantime."""
        with ThreadPoolExecutor(4, "rmpe-read") as pool:
            reading: dict[str, Future[Image]] = {}

            def ahead(chunk: Sequence[Item]) -> None:
                for item in chunk:
                    if local_path(item.path) is None:
                        reading[item.path] = pool.submit(read_photo, item.path)

            groups = list(chunks(items))
            for number, group in enumerate(groups):
                if number == 0:
                    ahead(group)
                if number + 1 < len(groups):
                    ahead(groups[number + 1])
                yield from self._chunk(group, reading)

    def _chunk(self, items: Sequence[Item], reading: dict[str, "Future[Image]"]) -> Iterator[Row]:
        paths = {Path(item.path): item for item in items}
        faults: list[StorageError] = []

        def read(path: Path) -> Image:
            address = paths[path].path
            future = reading.pop(address, None)
            try:
                return read_photo(address) if future is None else future.result()
            except StorageError as error:  # a fault of the shard, not of the photo
                faults.append(error)
                raise

        results = process_chunk(self._estimator, list(paths), read)
        if faults:
            raise faults[0]
        for result in results:
            yield _row(paths[result.path], result)

    def _video(self, item: Item) -> tuple[list[Row], float | None]:
        """Every frame of a video, or one row that says why there is none; and its rate."""
        try:
            with tempfile.TemporaryDirectory(prefix="rmpe-") as scratch:
                local = local_path(item.path)
                if local is None:
                    local = str(Path(scratch, PurePosixPath(item.path).name))
                    copy_remote(item.path, Path(local))
                return self._followed(item, local)
        except StorageError:
            raise
        except RmpeError as error:
            return [Row(None, item.file, item.name, item.path, error=str(error))], None

    def _followed(self, item: Item, local: str) -> tuple[list[Row], float]:
        rows = []
        with Video(local) as video:
            (stem,) = shortened([Path(local).stem])
            with closing(self._run.following.through(self._estimator, video)) as frames:
                for frame, poses in frames:
                    name = f"{stem}_{frame.index:06d}"
                    rows.append(
                        Row(
                            frame.index,
                            f"{name}.jpg",
                            name,
                            item.path,
                            size_of(frame.image),
                            poses,
                            seconds=frame.seconds,
                        )
                    )
            return rows, video.fps


def outcome(part: Part, started: float) -> Outcome:
    """What a commit mark says, with the time since ``started`` on `time.perf_counter`."""
    return Outcome(part.shard, part.photos, part.people, part.failed, time.perf_counter() - started)


def _row(item: Item, result: Result) -> Row:
    row = Row(item.image_id, item.file, item.name, item.path)
    if result.image is None or result.poses is None:
        return replace(row, error=result.error)
    return replace(row, size=size_of(result.image), poses=result.poses)
