"""The score of a pose."""

import numpy as np
from numpy.typing import NDArray


def pose_scores(
    box_scores: NDArray[np.float32], keypoint_scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Confidence of a whole pose.

    It is the geometric mean of the box's score and the mean squared joint score.

    Squaring lets the joints that were seen well speak for a person of whom the rest is hidden; the
    square root brings the product back to the scale of its factors, so that a threshold of .3 means
    what it seems to (the recorded table "photo_steps" compares it with the usual product of box
    score and mean joint score).

    Args:
        box_scores: ``(N,)`` in [0, 1].
        keypoint_scores: ``(N, K)`` in [0, 1].

    Returns:
        ``(N,)`` in [0, 1]; 0 where no joint is there.
    """
    return np.sqrt(box_scores * np.square(keypoint_scores).mean(axis=1)).astype(np.float32)


def box_scores(
    scores: NDArray[np.float32], keypoint_scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The box's part of pose scores ``(N,)``: the inverse of `pose_scores`; 0 without joints."""
    joints = np.square(keypoint_scores).mean(axis=1)
    found = np.divide(np.square(scores), joints, out=np.zeros_like(scores), where=joints > 0)
    return np.clip(found, 0, 1)


def lowest_box_score(pose_score: float) -> float:
    """The score a box needs for its pose to reach ``pose_score``: joints cannot exceed 1."""
    return pose_score**2
