"""Annotated people of any data set as plain arrays."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Index
from rmpe.errors import DataError
from rmpe.files import is_file
from rmpe.skeletons import Skeleton

ABSENT = 0
HIDDEN = 1
VISIBLE = 2


class Problem(NamedTuple):
    """Something in an annotation file that is left out, and the reason."""

    kind: str
    where: str


@dataclass(frozen=True, eq=False)
class PersonSet:
    """N annotated people in I images.

    Attributes:
        skeleton: Names of the K joints.
        images: Paths of the I images.
        image_index: ``(N,)`` int64, index of each person's image.
        boxes: ``(N, 4)`` float32 xyxy image pixels, the true box.
        keypoints: ``(N, K, 2)`` float32 image pixels; NaN where a joint is not labelled.
        visibility: ``(N, K)`` uint8: 0 not labelled, 1 labelled but hidden, 2 visible (as in COCO).
        ids: ``(N,)`` int64, the person's id in its annotation file.
        problems: Invalid entries that were left out on reading.
        notes: Remarks of the reader on the whole file, one line each.
        crowds: ``(C, 4)`` float32 xyxy image pixels, regions with people who are not annotated one
            by one.
        crowd_images: ``(C,)`` int64, index of each region's image.
    """

    skeleton: Skeleton
    images: tuple[Path, ...]
    image_index: NDArray[np.int64]
    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    ids: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    crowds: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    crowd_images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        people = len(self.boxes)
        joints = len(self.skeleton)
        wanted: dict[str, tuple[int, ...]] = {
            "image_index": (people,),
            "boxes": (people, 4),
            "keypoints": (people, joints, 2),
            "visibility": (people, joints),
            "ids": (people,),
            "crowds": (len(self.crowd_images), 4),
        }
        for name, shape in wanted.items():
            array: NDArray[Any] = getattr(self, name)
            if array.shape != shape:
                raise ValueError(
                    f"{name} of {people} people with {self.skeleton} must be {shape},"
                    f" got {array.shape}"
                )
        if np.any(np.isfinite(self.keypoints).all(axis=2) != (self.visibility > ABSENT)):
            raise ValueError("exactly the labelled joints must have finite coordinates")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Index) -> "PersonSet":
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        names = ("image_index", "boxes", "keypoints", "visibility", "ids")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def __repr__(self) -> str:
        return f"PersonSet({len(self)} people in {len(self.images)} images, {self.skeleton.name})"

    def without_images(self, names: Collection[str]) -> "PersonSet":
        """The people in images whose file name is not in ``names``."""
        banned = np.array([path.name in names for path in self.images], bool)
        return self[~banned[self.image_index]] if len(self) else self

    def to_skeleton(self, target: Skeleton) -> "PersonSet":
        """The same people with the joints of ``target``; joints missing here are unlabelled."""
        source = self.skeleton.correspondence(target)
        keypoints = self.keypoints[:, source]
        visibility = self.visibility[:, source]
        keypoints[:, source < 0] = np.nan
        visibility[:, source < 0] = ABSENT
        return replace(self, skeleton=target, keypoints=keypoints, visibility=visibility)

    def report(self) -> str:
        """A readable summary of the set, with one line per kind of problem."""
        labelled = int((self.visibility > ABSENT).sum())
        lines = [
            f"{len(self)} people, {labelled} labelled joints, {len(self.images)} images"
            f" ({self.skeleton.name})"
        ]
        for kind, count in Counter(problem.kind for problem in self.problems).most_common():
            first = next(problem.where for problem in self.problems if problem.kind == kind)
            lines.append(f"  {count} x {kind}, first: {first}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)


def union(sets: Sequence[PersonSet], target: Skeleton) -> PersonSet:
    """Join sets into one with the joints of ``target``.

    Joints that a set lacks are unlabelled, so one model can learn from all sets with masked joints.

    Raises:
        DataError: If there are no sets, or a set shares no joint with ``target``.
    """
    if not sets:
        raise DataError("no data set to train from: name at least one")
    for people in sets:
        if np.all(people.skeleton.correspondence(target) < 0):
            raise DataError(f"{people.skeleton} and {target} have no joint in common")
    moved = [people.to_skeleton(target) for people in sets]
    starts = np.cumsum([0] + [len(people.images) for people in moved])
    names = ("boxes", "keypoints", "visibility", "ids")
    return PersonSet(
        skeleton=target,
        images=tuple(path for people in moved for path in people.images),
        image_index=np.concatenate(
            [people.image_index + start for people, start in zip(moved, starts, strict=False)]
        ),
        problems=tuple(problem for people in moved for problem in people.problems),
        notes=tuple(note for people in moved for note in people.notes),
        crowds=np.concatenate([people.crowds for people in moved]),
        crowd_images=np.concatenate(
            [people.crowd_images + start for people, start in zip(moved, starts, strict=False)]
        ),
        **{name: np.concatenate([getattr(people, name) for people in moved]) for name in names},
    )


class PersonReader:
    """Collects people one by one; keeps valid ones and lists the problems of the others."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._images: dict[Path, tuple[int, tuple[int, int]]] = {}
        self._rows: list[tuple[int, list[float], NDArray[np.float32], NDArray[np.uint8], int]] = []
        self._crowds: list[tuple[int, list[float]]] = []

    def problem(self, kind: str, where: str) -> None:
        """Record a problem."""
        self.problems.append(Problem(kind, where))

    def note(self, line: str) -> None:
        """Keep what is to be said about the whole file; nothing if it is empty."""
        if line:
            self.notes.append(line)

    def add_image(self, path: Path, size: tuple[int, int]) -> bool:
        """Add an image of ``size`` (height, width).

        Returns:
            Whether the file exists; if not, a problem is recorded.
        """
        if not is_file(path):
            self.problem("image file missing", str(path))
            return False
        self._images[path] = (len(self._images), size)
        return True

    def add_crowd(self, path: Path, box: Sequence[float]) -> None:
        """Add a region with many people, xyxy image pixels; one without extent is left out."""
        if path in self._images and box[2] > box[0] and box[3] > box[1]:
            self._crowds.append((self._images[path][0], list(box)))

    def add_person(self, path: Path, box: Sequence[float], keypoints: Any, person_id: int) -> None:
        """Add a person.

        Args:
            path: The image; people in images that were not added are skipped, because the image
                already has a recorded problem.
            box: xyxy image pixels.
            keypoints: ``(K, 3)`` or flat: x, y, visibility.
            person_id: The person's id in the annotation file.
        """
        if path not in self._images:
            return
        index, (height, width) = self._images[path]
        where = f"person {person_id} in {path.name}"
        points = np.asarray(keypoints, np.float32)
        if points.size != 3 * len(self.skeleton):
            self.problem(
                f"not {len(self.skeleton)} joints of 3 numbers", f"{where}: {points.size} numbers"
            )
            return
        points = points.reshape(-1, 3)
        clipped = np.clip(np.asarray(box, np.float64), 0, [width, height, width, height])
        if not (
            np.isfinite(clipped).all()
            and clipped[2] - clipped[0] >= 1
            and clipped[3] - clipped[1] >= 1
        ):
            self.problem(
                "box empty or outside the image",
                f"{where}: {np.round(box, 2).tolist()} in {width}x{height}",
            )
            return
        labelled = points[:, 2] > 0
        outside = labelled & ~np.all(
            (points[:, :2] >= -1) & (points[:, :2] <= [width, height]), axis=1
        )
        if outside.any():
            self.problem(
                "joint outside the image, taken as unlabelled",
                f"{where}: {points[outside][0].tolist()}",
            )
            labelled &= ~outside
        visibility = np.where(labelled, np.clip(points[:, 2], HIDDEN, VISIBLE), ABSENT).astype(
            np.uint8
        )
        xy = np.where(labelled[:, None], points[:, :2], np.nan).astype(np.float32)
        self._rows.append((index, clipped.tolist(), xy, visibility, person_id))

    def finish(self) -> PersonSet:
        """The collected people."""
        joints = len(self.skeleton)
        columns: list[Any] = (
            list(zip(*self._rows, strict=True)) if self._rows else [[], [], [], [], []]
        )
        return PersonSet(
            skeleton=self.skeleton,
            images=tuple(self._images),
            image_index=np.array(columns[0], np.int64),
            boxes=np.array(columns[1], np.float32).reshape(-1, 4),
            keypoints=np.array(columns[2], np.float32).reshape(-1, joints, 2),
            visibility=np.array(columns[3], np.uint8).reshape(-1, joints),
            ids=np.array(columns[4], np.int64),
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            crowds=np.array([box for _, box in self._crowds], np.float32).reshape(-1, 4),
            crowd_images=np.array([image for image, _ in self._crowds], np.int64),
        )
