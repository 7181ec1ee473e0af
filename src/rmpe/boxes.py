"""Bounding boxes of people, their IoU and greedy non-maximum suppression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

# From this IoU on two boxes agree on a person.
AGREE = 0.7

Index: TypeAlias = int | slice | NDArray[np.bool_] | NDArray[np.integer] | Sequence[int]


def size_of(image: NDArray[Any]) -> tuple[int, int]:
    """(height, width) of an image ``(H, W, ...)``."""
    return image.shape[0], image.shape[1]


@dataclass(frozen=True, eq=False, slots=True)
class Boxes:
    """The boxes of one image, with one score per box.

    Attributes:
        xyxy: ``(N, 4)`` float32: left, top, right, bottom in image pixels.
        scores: ``(N,)`` float32 in [0, 1]; 1 if no scores are given.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __init__(self, xyxy: ArrayLike, scores: ArrayLike | None = None) -> None:
        boxes = np.asarray(xyxy, np.float32)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must be (N, 4), got {boxes.shape}")
        values = (
            np.ones(len(boxes), np.float32) if scores is None else np.asarray(scores, np.float32)
        )
        if values.shape != (len(boxes),):
            raise ValueError(
                f"{len(boxes)} boxes need scores of shape ({len(boxes)},), got {values.shape}"
            )
        if not (np.isfinite(boxes).all() and np.all((values >= 0) & (values <= 1))):
            raise ValueError("boxes must be finite and their scores in [0, 1]")
        object.__setattr__(self, "xyxy", boxes)
        object.__setattr__(self, "scores", values)

    @classmethod
    def empty(cls) -> "Boxes":
        """Zero boxes."""
        return cls(np.zeros((0, 4), np.float32))

    @classmethod
    def from_xywh(cls, xywh: ArrayLike, scores: ArrayLike | None = None) -> "Boxes":
        """Boxes from left, top, width, height ``(N, 4)``, as COCO writes them."""
        return cls(to_xyxy(xywh), scores)

    @classmethod
    def whole(cls, size: tuple[int, int]) -> "Boxes":
        """The whole image of ``size`` (height, width) as one box."""
        return cls([[0, 0, size[1], size[0]]])

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: Index) -> "Boxes":
        if isinstance(index, int):
            index = range(len(self))[index]  # raises the IndexError that ends a for loop
            index = slice(index, index + 1)
        return Boxes(self.xyxy[index], self.scores[index])

    def __repr__(self) -> str:
        return f"Boxes({len(self)})"

    @property
    def sides(self) -> NDArray[np.float32]:
        """Width and height of each box, ``(N, 2)``."""
        return self.xyxy[:, 2:] - self.xyxy[:, :2]

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Left, top, width, height ``(N, 4)``, as COCO writes them."""
        return np.concatenate([self.xyxy[:, :2], self.sides], axis=1)

    @property
    def areas(self) -> NDArray[np.float32]:
        """Area of each box, ``(N,)``; 0 where a side is negative."""
        areas: NDArray[np.float32] = np.prod(np.maximum(self.sides, 0), axis=1)
        return areas

    def grow(self, factor: float) -> "Boxes":
        """Scale both sides of each box by ``factor`` around its centre."""
        center = (self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2
        half = self.sides * (factor / 2)
        return Boxes(np.concatenate([center - half, center + half], axis=1), self.scores)

    def clip(self, size: tuple[int, int]) -> "Boxes":
        """Clip the boxes to an image of ``size`` (height, width)."""
        height, width = size
        return Boxes(
            np.clip(self.xyxy, 0, np.array([width, height, width, height], np.float32)), self.scores
        )


def to_xyxy(xywh: ArrayLike) -> NDArray[np.float64]:
    """Left, top, width, height ``(N, 4)`` to left, top, right, bottom, in double precision."""
    boxes = np.asarray(xywh, np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes ``a`` ``(N, 4)`` and ``b`` ``(M, 4)``: ``(N, M)``."""
    a = np.asarray(a, np.float64)
    b = np.asarray(b, np.float64)
    # Side by side: an axis of two pixels would be walked pair by pair.
    intersection = np.ones((len(a), len(b)))
    for axis in (0, 1):
        ends = np.minimum(a[:, None, axis + 2], b[None, :, axis + 2])
        ends -= np.maximum(a[:, None, axis], b[None, :, axis])
        intersection *= np.maximum(ends, 0, out=ends)
    area_a = np.prod(np.maximum(a[:, 2:] - a[:, :2], 0), axis=1)
    area_b = np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1)
    union = area_a[:, None] + area_b[None] - intersection
    result: NDArray[np.float64] = np.divide(
        intersection, union, out=np.zeros_like(union), where=union > 0
    )
    return result


def greedy_nms(
    similarity: NDArray[np.float64], scores: NDArray[np.float32], threshold: float
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression on a similarity matrix.

    The best remaining item is kept and everything more similar to it than ``threshold`` is removed,
    until nothing remains.

    Args:
        similarity: ``(N, N)``; the row is the kept item, the column the one that may be removed.
        scores: ``(N,)``; ties are broken by index.
        threshold: Largest similarity at which both items survive.

    Returns:
        Indices of the survivors, best first.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    alive = np.ones(len(order), bool)
    kept = []
    redundant = similarity > threshold
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= ~redundant[index]
    return np.array(kept, np.int64)


def box_nms(boxes: Boxes, threshold: float) -> NDArray[np.int64]:
    """Indices of the boxes that survive greedy NMS at IoU ``threshold``, best first."""
    return greedy_nms(iou(boxes.xyxy, boxes.xyxy), boxes.scores, threshold)


def vote(boxes: Boxes, kept: NDArray[np.int64], voters: int) -> Boxes:
    """Boxes that survived NMS, scored by all that agree with them.

    A person is found by several cells of a detector, a chance response by one or two. So a box's
    score becomes the mean of the best ``voters`` among those that agree with it, itself included;
    one that is missing counts as 0. A box agrees with one that is at least as sure, from an IoU of
    `AGREE` on.

    Args:
        boxes: All that the detector found, also those too poor to be kept.
        kept: Which survive, as `box_nms` has it.
        voters: How many scores count, at least 1.

    Returns:
        The kept boxes with their new scores, best first.
    """
    scores = boxes.scores.astype(np.float64)
    agrees = iou(boxes.xyxy[kept], boxes.xyxy) >= AGREE
    agrees &= scores <= scores[kept, None]
    agrees[np.arange(len(kept)), kept] = True  # also a box without an area
    best = -np.sort(-np.where(agrees, scores, 0), axis=1)[:, :voters]
    voted = best.sum(axis=1) / voters
    order = np.argsort(-voted, kind="stable")
    return Boxes(boxes.xyxy[kept][order], voted[order])
