"""A labelled data set in memory: what every format is read into and written from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.image_names import ImageFolder
from rmpe.annotations.joints import match_joints, skeleton_of
from rmpe.errors import DataError
from rmpe.media.images import read_image
from rmpe.skeletons import Skeleton

UNLABELLED = 0
HIDDEN = 1
VISIBLE = 2
GROWTH = 1.2  # of the joints' extent, where a file has no box: as for LSP and MPII


@dataclass(frozen=True, eq=False)
class LabelledPerson:
    """A person, or a region with many.

    Attributes:
        box: ``(4,)`` x, y, width, height in image pixels.
        keypoints: ``(K, 3)`` x, y and COCO's visibility: 0 not labelled, 1 hidden, 2 visible.
        crowd: Whether it is a region with many people.
        score: Of people that a model found; ``None`` for labelled ones.
        area: Square pixels, if the file says.
    """

    box: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    crowd: bool = False
    score: float | None = None
    area: float | None = None

    @property
    def labelled(self) -> int:
        """How many joints are labelled."""
        return int((self.keypoints[:, 2] > UNLABELLED).sum())


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and its people.

    Attributes:
        name: Relative name, with ``/`` between folders.
        size: (height, width) in pixels.
        people: Everybody in it.
        id: Its number, if the file gives one.
        path: Where it lies, if that is known.
    """

    name: str
    size: tuple[int, int]
    people: tuple[LabelledPerson, ...] = ()
    id: int | None = None
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Images with labelled people.

    Attributes:
        skeleton: The joints.
        images: All images, also those with nobody in them.
        warnings: What was read as meant or left out, one line a kind.
        predicted: Whether a model found the people.
    """

    skeleton: Skeleton
    images: tuple[LabelledImage, ...]
    warnings: tuple[str, ...] = ()
    predicted: bool = False

    @property
    def people(self) -> int:
        """How many people there are."""
        return sum(len(image.people) for image in self.images)


@dataclass
class Remarks:
    """What was read as meant or left out: counted by kind, with the first place of each.

    Attributes:
        source: What to call the file.
    """

    source: str
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, place: str) -> None:
        """Count one more."""
        self.counts[what] += 1
        self.first.setdefault(what, place)

    def lines(self) -> tuple[str, ...]:
        """One line a kind."""
        return tuple(
            f"{self.source}: {count} x {what}, first: {self.first[what]}"
            for what, count in self.counts.items()
        )


@dataclass(frozen=True)
class JointOrder:
    """How the joints of a file become those of a skeleton.

    Attributes:
        skeleton: The skeleton.
        order: ``(K,)``, index in the file for each of its joints; -1 where the file has none.
        names: The file's joints in its order.
        remark: What to say about it; empty if nothing.
    """

    skeleton: Skeleton
    order: NDArray[np.int64]
    names: tuple[str, ...]
    remark: str

    def sorted(self, keypoints: NDArray[np.float64], place: str) -> NDArray[np.float64]:
        """Keypoints ``(K, 3)`` in the skeleton's order, zeros where they are not labelled.

        Raises:
            DataError: If there are more or fewer than the file's joints.
        """
        if len(keypoints) != len(self.names):
            raise DataError(f"{place} has {len(keypoints)} joints, not {len(self.names)}")
        wanted = np.where((self.order >= 0)[:, None], keypoints[self.order], 0.0)
        flags = np.clip(wanted[:, 2], UNLABELLED, VISIBLE)
        wanted[:, 2] = flags
        wanted[flags == UNLABELLED] = 0
        return wanted


def order_joints(names: Sequence[str], skeleton: Skeleton | None, source: str) -> JointOrder:
    """Match the joints of a file by their names.

    Args:
        names: The file's joints in order; empty if it does not name them.
        skeleton: What they are; without it one that ships and has the same joints.
        source: What to call the file in messages.

    Raises:
        DataError: If no skeleton that ships has these joints, or ``skeleton`` does not fit.
    """
    known = skeleton or skeleton_of(names)
    if known is None:
        said = ", ".join(names[:4]) or "no names"
        raise DataError(
            f"{source}: its joints ({said}) are those of no skeleton that ships: say what they are"
            " with --skeleton FILE.toml"
        )
    order, remark = match_joints(names, known, source)
    return JointOrder(known, order, tuple(names) or known.joints, remark)


def box_around(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """A box ``(4,)`` xywh for a person whose file has none; zeros without a labelled joint."""
    points = keypoints[keypoints[:, 2] > UNLABELLED, :2]
    if not len(points):
        return np.zeros(4)
    low = points.min(axis=0)
    sides = np.maximum(points.max(axis=0) - low, 1)
    return np.concatenate([low - (GROWTH - 1) / 2 * sides, GROWTH * sides])


def locate(labelled: LabelledSet, folder: Path) -> LabelledSet:
    """The same set with the places of its image files, where they lie below ``folder``."""
    files = ImageFolder(folder)
    return replace(
        labelled,
        images=tuple(
            image if image.path is not None else replace(image, path=files.find(image.name))
            for image in labelled.images
        ),
    )


def size_of_file(path: Path | None, name: str, source: str) -> tuple[int, int]:
    """(height, width) of an upright image, from the image itself.

    Raises:
        DataError: If there is no such file.
        ImageError: If it cannot be read.
    """
    if path is None:
        raise DataError(
            f"{source}: image {name!r} has no 'width' and 'height' and is not there: name the"
            " folder of the images with --images"
        )
    height, width = read_image(path).shape[:2]
    return height, width


def without_weak(labelled: LabelledSet, min_score: float) -> LabelledSet:
    """A predicted set without the people whose score is lower."""
    kept = [
        replace(
            image,
            people=tuple(
                person
                for person in image.people
                if person.score is None or person.score >= min_score
            ),
        )
        for image in labelled.images
    ]
    return replace(labelled, images=tuple(kept))


def by_name(images: Sequence[LabelledImage], source: str) -> dict[str, LabelledImage]:
    """The images by name.

    Raises:
        DataError: If two have the same name.
    """
    found: dict[str, LabelledImage] = {}
    for image in images:
        if found.setdefault(image.name, image) is not image:
            raise DataError(f"{source}: image {image.name!r} is there more than once")
    return found
