"""Propose: from a detector's boxes to the regions a pose is looked for in."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes

# A person less than this many pixels wide or high holds no pose.
SMALLEST_SIDE = 1.0


def propose(boxes: Boxes, size: tuple[int, int], limit: int, min_score: float = 0.0) -> Boxes:
    """Clip boxes to the image, drop the empty and the hopeless ones, keep the ``limit`` best.

    Growing comes later and once, by the factor on the pose model's card (`grow_proposals`).

    Args:
        boxes: Image pixels; may reach over the border or be empty.
        size: (height, width) of the image.
        limit: Most people an image may have.
        min_score: Boxes below it are dropped.

    Returns:
        Boxes that cover at least a pixel, best first.
    """
    clipped = boxes.clip(size)
    usable = np.flatnonzero(
        (clipped.sides >= SMALLEST_SIDE).all(axis=1) & (clipped.scores >= min_score)
    )
    order = usable[np.argsort(-clipped.scores[usable], kind="stable")]
    return clipped[order[:limit]]


def grow_proposals(boxes: NDArray[np.float32], growth: float) -> NDArray[np.float32]:
    """Boxes ``(N, 4)`` with both sides multiplied by ``growth`` around their centres.

    Source: RMPE, section 4: proposals are extended by 30 % in width and height (``growth`` 1.3).
    Differs: not clipped a second time; what lies outside the image is black in the crop, so the
    person stays centred, as published pose models were trained.
    """
    return Boxes(boxes).grow(growth).xyxy
