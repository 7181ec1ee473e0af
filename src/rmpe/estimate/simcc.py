"""From SimCC outputs to joints."""

import numpy as np
from numpy.typing import NDArray


def decode_simcc(
    x: NDArray[np.float32], y: NDArray[np.float32], split: float
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The highest bin of each axis.

    Args:
        x: Responses ``(N, K, w * split)`` along the crop's width.
        y: Responses ``(N, K, h * split)`` along the crop's height.
        split: Bins a crop pixel.

    Returns:
        Points ``(N, K, 2)`` in crop pixels and scores ``(N, K)``: the lower of the two responses, 0
        where it is not positive.

    Source: Li et al., "SimCC" (ECCV 2022), section 3; the score rule is RTMPose's.
    """
    points = np.stack([x.argmax(axis=2), y.argmax(axis=2)], axis=-1) / split
    scores = np.minimum(x.max(axis=2), y.max(axis=2))
    return points, np.maximum(scores, 0)
