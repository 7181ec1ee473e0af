"""What a worker does with photos: decode, detect, estimate, with the time of each stage."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rmpe.boxes import Boxes, size_of
from rmpe.errors import ImageError, RmpeError
from rmpe.media.headers import SIZES, kind_of
from rmpe.media.headers import size_of as declared_size
from rmpe.media.images import read_image
from rmpe.pipeline import Estimator, Image
from rmpe.poses import Poses

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """The people of one photo.

    Attributes:
        poses: They.
        size: (height, width) of the photo.
        seconds: Stage -> seconds it took.
    """

    poses: Poses
    size: tuple[int, int]
    seconds: dict[str, float]


class Engine:
    """An estimator behind a door that checks what comes in; safe from several threads at once."""

    def __init__(self, estimator: Estimator, max_pixels: int) -> None:
        self.estimator = estimator
        self.max_pixels = max_pixels

    def __call__(self, photos: list[bytes]) -> list[Found | Exception]:
        """The people of some encoded photos; the exception in its place for one that fails."""
        looked = [self._look(photo) for photo in photos]
        whole = [look for look in looked if not isinstance(look, RmpeError)]
        try:
            poses, seconds = _timed(
                lambda: self.estimator.estimate_batch(
                    [image for image, _, _ in whole], [boxes for _, boxes, _ in whole]
                )
            )
        except RmpeError as error:
            if len(photos) == 1:
                return [error]
            # One of them broke the batch: let the others live.
            return [self([photo])[0] for photo in photos]
        share = seconds / max(1, len(whole))
        answers = iter(
            Found(found, size_of(image), times | {"pose": share})
            for (image, _, times), found in zip(whole, poses, strict=True)
        )
        return [look if isinstance(look, RmpeError) else next(answers) for look in looked]

    def _look(self, photo: bytes) -> tuple[Image, Boxes, dict[str, float]] | RmpeError:
        try:
            check_pixels(photo, self.max_pixels)
            image, decode = _timed(lambda: read_image(photo))
            boxes, detect = _timed(lambda: self.estimator.detector(image))
        except RmpeError as error:
            return error
        return image, boxes, {"decode": decode, "detect": detect}


def check_pixels(photo: bytes, most: int) -> None:
    """Refuse a photo that would be too large in memory, before it is decoded.

    Raises:
        ImageError: If its header says so.
    """
    kind = kind_of(photo)
    size = declared_size(kind, photo) if kind in SIZES else None
    if size is not None and size[0] * size[1] > most:
        raise ImageError(
            f"{size[1]} x {size[0]} pixels; at most {most / 1e6:g} million are allowed"
        )


def is_photo(head: bytes) -> bool:
    """Whether a file that begins like this is a picture."""
    return kind_of(head) not in {None, "video"}


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    result = call()
    return result, time.perf_counter() - began
