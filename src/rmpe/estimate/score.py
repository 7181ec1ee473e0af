"""The score of a pose."""

import numpy as np
from numpy.typing import NDArray

# A response below this says that the joint is not there; it should not pull its person down.
VISIBLE = 0.05


def pose_scores(box_scores: NDArray[np.float32], keypoint_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """How sure we are of a whole pose: the box's score times the mean score of the joints that are there.

    Args:
        box_scores: ``(N,)`` in [0, 1].
        keypoint_scores: ``(N, K)`` in [0, 1].

    Returns:
        ``(N,)`` in [0, 1]; 0 where no joint is there.
    """
    there = keypoint_scores > VISIBLE
    mean = (keypoint_scores * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return (box_scores * mean).astype(np.float32)
