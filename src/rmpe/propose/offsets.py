"""Offsets: how far each edge of a proposal lies from the person's true box.

An offset is a share of the true box's side in that direction: left, top, right, bottom.

Source: RMPE, section 3.3.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import DataError

Offsets = NDArray[np.float64]
REDRAWS = 1000


def relative_offsets(detected: NDArray[np.float64], true: NDArray[np.float64]) -> Offsets:
    """Detected minus true edges ``(N, 4)`` as shares of the true sides; both boxes ``(N, 4)`` xyxy."""
    sides = true[:, 2:] - true[:, :2]
    offsets: Offsets = (detected - true) / np.concatenate([sides, sides], axis=1)
    return offsets


def disturb(boxes: ArrayLike, offsets: ArrayLike) -> NDArray[np.float64]:
    """Proposals around true boxes.

    Args:
        boxes: True boxes ``(..., 4)`` xyxy, any frame.
        offsets: Offsets ``(..., 4)`` as shares of the true sides; broadcasts against the boxes.

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
    """IoU ``(...)`` of a proposal with its true box; offsets ``(..., 4)`` are all that it depends on."""
    start = offsets[..., :2]
    end = 1 + offsets[..., 2:]
    area = np.prod(np.maximum(end - start, 0), axis=-1)
    overlap = np.prod(np.maximum(np.minimum(end, 1) - np.maximum(start, 0), 0), axis=-1)
    result: NDArray[np.float64] = overlap / (1 + area - overlap)
    return result


def draw_overlapping(
    draw: Callable[[NDArray[np.int64]], Offsets], atoms: NDArray[np.int64], iou: float
) -> Offsets:
    """Draw one offset for each of ``atoms`` ``(N,)``, again where the IoU with the true box is
    below ``iou``.

    Raises:
        DataError: If some still are after many rounds: the distribution hardly ever overlaps the
            true box.
    """
    offsets = draw(atoms)
    for _ in range(REDRAWS):
        poor = offset_iou(offsets) < iou
        if not poor.any():
            return offsets
        offsets[poor] = draw(atoms[poor])
    raise DataError(
        f"box policy: {poor.sum()} of {len(atoms)} proposals stay below IoU {iou} after {REDRAWS} draws"
    )
