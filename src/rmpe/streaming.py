"""Many images through the pipeline: decoding, detection and estimation overlap on threads."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2

from rmpe.boxes import Boxes
from rmpe.draw import draw_poses
from rmpe.errors import RmpeError, UsageError
from rmpe.media.arrays import type_name
from rmpe.media.images import read_image
from rmpe.pipeline import Estimator, Image
from rmpe.poses import Poses

T = TypeVar("T")
# Images whose people share a batch. More evens out the batches of the pose model but keeps more
# images in memory.
CHUNK = 4


@dataclass(frozen=True)
class Result:
    """The outcome for one image of a stream.

    Attributes:
        path: Where it came from.
        image: RGB pixels; ``None`` if it could not be read.
        poses: The people in it; ``None`` if anything failed.
        error: Why, in one line; empty if nothing failed.
    """

    path: Path
    image: Image | None = None
    poses: Poses | None = None
    error: str = ""

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the image with its people; nothing if it could not be read."""
        if self.image is None:
            return None
        drawn = self.image if self.poses is None else draw_poses(self.image, self.poses)
        return bytes(cv2.imencode(".png", drawn[..., ::-1])[1])


def stream(
    estimator: Estimator,
    paths: Iterable[str | Path],
    read: Callable[[Path], Image] = read_image,
    each: Callable[[Result], None] | None = None,
) -> Iterator[Result]:
    """Find everybody in many images, in order; an image that fails does not stop the rest.

    Different images overlap on ``estimator.workers`` threads. Only a few images are held at a
    time, however many there are.

    Args:
        estimator: The pipeline.
        paths: Image files, as paths or text.
        read: How to read one; its `RmpeError` becomes that image's failure.
        each: Called with every result in the thread that made it, e.g. to draw; its `RmpeError`
            becomes that image's failure.

    Raises:
        UsageError: If ``paths`` is a single one, or something in it is no path.
    """
    if isinstance(paths, str | Path):
        raise UsageError(f"paths is one path: pass a list of them, [{str(paths)!r}]")
    files = map(_as_path, paths)
    pending: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(estimator.workers, "rmpe") as pool:
        try:
            for chunk in chunks(files):
                pending.append(pool.submit(process_chunk, estimator, chunk, read, each))
                if len(pending) > estimator.workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:  # a caller that stops early does not wait for images it will never see
            for future in pending:
                future.cancel()


def _as_path(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UsageError(
            f"paths are files, this is {type_name(path)}: call the estimator for pictures in memory"
        )
    return Path(path)


def process_chunk(
    estimator: Estimator,
    paths: Sequence[Path],
    read: Callable[[Path], Image] = read_image,
    each: Callable[[Result], None] | None = None,
) -> list[Result]:
    """What `stream` does with up to `CHUNK` images, in the calling thread.

    The people of the images share the pose model's batches, so that the same chunks give the same
    bits. Arguments as for `stream`.
    """
    looked = [_look(estimator, path, read) for path in paths]
    images = [result.image for result, _ in looked if result.image is not None]
    boxes = [found for result, found in looked if result.image is not None]
    try:
        answers: list[Poses | str] = list(estimator.estimate_batch(images, boxes))
    except RmpeError:  # one image broke the batch: estimate each alone, so the others live
        answers = [
            _alone(estimator, image, found) for image, found in zip(images, boxes, strict=True)
        ]
    remaining = iter(answers)
    results = [
        result if result.image is None else _answered(result, next(remaining))
        for result, _ in looked
    ]
    return [_seen(result, each) for result in results] if each else results


def _look(estimator: Estimator, path: Path, read: Callable[[Path], Image]) -> tuple[Result, Boxes]:
    try:
        image = read(path)
        return Result(path, image), estimator.detector(image, path.as_posix())
    except RmpeError as error:
        return Result(path, error=str(error)), Boxes.empty()


def _alone(estimator: Estimator, image: Image, boxes: Boxes) -> Poses | str:
    try:
        return estimator.estimate(image, boxes)
    except RmpeError as error:
        return str(error)


def _seen(result: Result, each: Callable[[Result], None]) -> Result:
    try:
        each(result)
    except RmpeError as error:  # e.g. its picture cannot be written: a failure of this image alone
        return replace(result, poses=None, error=str(error))
    return result


def _answered(result: Result, answer: Poses | str) -> Result:
    if isinstance(answer, str):
        return replace(result, error=answer)
    return replace(result, poses=answer)


def chunks(paths: Iterable[T]) -> Iterator[list[T]]:
    """The images of a stream that are worked on together: `CHUNK` at a time."""
    remaining = iter(paths)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk
