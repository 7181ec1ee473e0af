"""Faces made unrecognisable, by the joints of the face."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses

FACE = ("nose", "eye", "ear", "face_")
MARGIN = 1.5  # the ears are narrower than the head, and eyes and nose lie in the middle
SMALLEST = 0.06  # radius at least, as a share of the person's longer side
TILES = 6  # a face is reduced to so many pixels on a side


def blur_faces(image: NDArray[np.uint8], poses: Poses) -> None:
    """Replace every face by a few blurred colours, in place.

    A face is the circle around the joints of the head that have a place, whatever their score: a
    face that is doubtful is hidden, too. A person none of whose head joints were found is not.

    Args:
        image: uint8 ``(H, W, 3)``; changed.
        poses: The people, in pixels of the image.
    """
    face = [
        at for at, name in enumerate(poses.skeleton.joints) if any(part in name for part in FACE)
    ]
    for points, size in zip(poses.keypoints[:, face], poses.sizes, strict=True):
        seen = points[np.isfinite(points).all(axis=1)].astype(np.float64)
        if not len(seen):
            continue
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
        reach = np.linalg.norm(seen - middle, axis=1).max()
        _hide(image, middle, max(MARGIN * reach, SMALLEST * float(size)))


def _hide(image: NDArray[np.uint8], middle: NDArray[np.float64], radius: float) -> None:
    limit = np.array(image.shape[1::-1])
    left, top = np.clip(np.floor(middle - radius), 0, limit).astype(int).tolist()
    right, bottom = np.clip(np.ceil(middle + radius) + 1, 0, limit).astype(int).tolist()
    part = image[top:bottom, left:right]
    if not part.size:
        return
    coarse = cv2.resize(part, (TILES, TILES), interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    rows, columns = np.mgrid[top:bottom, left:right]
    inside = np.hypot(columns - middle[0], rows - middle[1]) <= radius
    part[inside] = hidden[inside]
