"""Offsets: the distance of each edge of a proposal from the person's true box.

Offsets (left, top, right, bottom) are fractions of the true box's side in that direction.

Source: RMPE, section 3.3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import DataError

Offsets = NDArray[np.float64]
REDRAWS = 1000


def relative_offsets(detected: NDArray[np.float64], true: NDArray[np.float64]) -> Offsets:
    """Detected minus true edges as fractions of the true sides; all ``(N, 4)``, boxes xyxy."""
    sides = true[:, 2:] - true[:, :2]
    offsets: Offsets = (detected - true) / np.concatenate([sides, sides], axis=1)
    return offsets


def disturb(boxes: ArrayLike, offsets: ArrayLike) -> NDArray[np.float64]:
    """Proposals around true boxes.

    Args:
        boxes: True boxes ``(..., 4)`` xyxy, any frame.
        offsets: Offsets ``(..., 4)`` as fractions of the true sides; broadcast with the boxes.

    Returns:
        Proposals ``(..., 4)`` xyxy in the frame of the boxes.
    """
    boxes = np.asarray(boxes, np.float64)
    sides = boxes[..., 2:] - boxes[..., :2]
    proposals: NDArray[np.float64] = boxes + np.asarray(offsets, np.float64) * np.concatenate(
        [sides, sides], axis=-1
    )
    return proposals


def offset_iou(offsets: Offsets) -> NDArray[np.float64]:
    """IoU ``(...)`` of proposals with their true boxes, from the offsets ``(..., 4)`` alone."""
    start = offsets[..., :2]
    end = 1 + offsets[..., 2:]
    area = np.prod(np.maximum(end - start, 0), axis=-1)
    overlap = np.prod(np.maximum(np.minimum(end, 1) - np.maximum(start, 0), 0), axis=-1)
    result: NDArray[np.float64] = overlap / (1 + area - overlap)
    return result


def draw_overlapping(
    draw: Callable[[NDArray[np.int64]], Offsets], atoms: NDArray[np.int64], iou: float
) -> Offsets:
    """Draw one offset per person and redraw those whose IoU with the true box is below ``iou``.

    Args:
        draw: Draws offsets ``(N, 4)`` for kinds of pose ``(N,)``.
        atoms: ``(N,)``, the kind of pose of each person.
        iou: Smallest IoU with the true box.

    Returns:
        Offsets ``(N, 4)``.

    Raises:
        DataError: If some offsets stay below ``iou`` after `REDRAWS` rounds.
    """
    offsets = draw(atoms)
    for _ in range(REDRAWS):
        poor = offset_iou(offsets) < iou
        if not poor.any():
            return offsets
        offsets[poor] = draw(atoms[poor])
    raise DataError(
        f"box policy: {poor.sum()} of {len(atoms)} proposals stay below IoU {iou}"
        f" after {REDRAWS} draws"
    )
