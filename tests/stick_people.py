"""Poses of people who stand, for tests of what comes after the pose estimator."""

import numpy as np

from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton

COCO = load_skeleton("coco17")
# A standing person, joints in shares of the height from the box's centre.
STANCE = np.array(
    [
        (0, -0.42), (-0.02, -0.44), (0.02, -0.44), (-0.04, -0.42), (0.04, -0.42),
        (0.11, -0.3), (-0.11, -0.3), (0.14, -0.14), (-0.14, -0.14), (0.14, 0), (-0.14, 0),
        (0.07, 0.02), (-0.07, 0.02), (0.07, 0.24), (-0.07, 0.24), (0.07, 0.46), (-0.07, 0.46),
    ],
    np.float32,
)  # fmt: skip


def pose(center, height=120.0, score=0.9):
    x, y = center
    points = STANCE * height + np.array([x, y], np.float32)
    box = [x - 0.2 * height, y - height / 2, x + 0.2 * height, y + height / 2]
    return Poses(points[None], np.full((1, 17), score), [score], [box], COCO)


def people(*many):
    return Poses.merge([Poses.empty(COCO), *many])
