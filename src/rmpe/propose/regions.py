"""Region proposals: from detected boxes to the regions that the pose estimator sees."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes

# Boxes narrower or lower than this many pixels contain no pose.
SMALLEST_SIDE = 1.0


def propose(boxes: Boxes, size: tuple[int, int], limit: int, min_score: float = 0.0) -> Boxes:
    """Clip boxes to the image, drop empty and low-scoring ones, and keep the ``limit`` best.

    The boxes are not grown here; `grow_proposals` does that, by the factor on the pose model's
    card.

    Args:
        boxes: Image pixels; may extend beyond the image or be empty.
        size: (height, width) of the image.
        limit: Largest number of people per image.
        min_score: Boxes with a lower score are dropped.

    Returns:
        Boxes with both sides at least one pixel long, best first.
    """
    clipped = boxes.clip(size)
    usable = np.flatnonzero(
        (clipped.sides >= SMALLEST_SIDE).all(axis=1) & (clipped.scores >= min_score)
    )
    order = usable[np.argsort(-clipped.scores[usable], kind="stable")]
    return clipped[order[:limit]]


def grow_proposals(boxes: NDArray[np.float32], growth: float) -> NDArray[np.float32]:
    """Scale both sides of boxes ``(N, 4)`` by ``growth`` around their centres.

    Source: RMPE, section 4: proposals are extended by 30 % in width and height (``growth`` 1.3).
    Differs: boxes are not clipped again. Regions outside the image are black in the crop, which
        keeps the person centred, as in the training of published pose models.
    """
    return Boxes(boxes).grow(growth).xyxy
