"""The score of a pose."""

import numpy as np
from numpy.typing import NDArray

# A joint whose score is lower says nothing about the others: it is hidden, or outside the photo.
SEEN = 0.1


def pose_scores(
    box_scores: NDArray[np.float32], keypoint_scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Confidence of a whole pose.

    It is the geometric mean of the box's score and the mean squared score of the joints that are
    seen at all.

    Squaring lets the joints that were seen well speak for a person of whom the rest is hidden; the
    square root brings the product back to the scale of its factors, so that a threshold of .3 means
    what it seems to. The recorded table "pose-scores" compares it with the usual product of box
    score and mean joint score, and with all joints counted.

    Args:
        box_scores: ``(N,)`` in [0, 1].
        keypoint_scores: ``(N, K)`` in [0, 1].

    Returns:
        ``(N,)`` in [0, 1]; 0 where no joint is seen.
    """
    return np.sqrt(box_scores * _of_joints(keypoint_scores)).astype(np.float32)


def box_scores(
    scores: NDArray[np.float32], keypoint_scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The box's part of pose scores ``(N,)``: the inverse of `pose_scores`; 0 without joints."""
    joints = _of_joints(keypoint_scores)
    found = np.divide(np.square(scores), joints, out=np.zeros_like(scores), where=joints > 0)
    return np.clip(found, 0, 1)


def _of_joints(keypoint_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean square of the scores ``(N, K)`` of joints that are seen."""
    seen = keypoint_scores > SEEN
    total = np.square(keypoint_scores).sum(axis=1, where=seen)
    mean: NDArray[np.float32] = total / np.maximum(seen.sum(axis=1), 1)
    return mean


def lowest_box_score(pose_score: float) -> float:
    """The score a box needs for its pose to reach ``pose_score``: joints cannot exceed 1."""
    return pose_score**2
