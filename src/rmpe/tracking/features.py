"""Image features of people: optical flow around the joints and colours along the limbs."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses

# Side of a joint's box as a fraction of the person's size (PoseFlow; also used by pose NMS).
JOINT_BOX = 0.1
# Positions of a joint's features in its box, in half sides from the centre.
PATTERN = np.array([(0.0, -0.5), (-0.45, 0.3), (0.45, 0.3)], np.float32)
# Optical flow runs on an image whose longer side has at most this many pixels.
LONGEST_SIDE = 640
LUCAS_KANADE: dict[str, Any] = {
    "winSize": (11, 11),
    "maxLevel": 2,
    "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 0.05),
    "minEigThreshold": 1e-3,
}
LIMB_SAMPLES = np.linspace(0.15, 0.85, 5, dtype=np.float32)[:, None]


@dataclass(frozen=True, eq=False)
class SmallPicture:
    """A downscaled grey image for optical flow.

    Attributes:
        grey: uint8 ``(h, w)``; the longer side is at most `LONGEST_SIDE`.
        scale: Factor from pixels of the original image to pixels of ``grey``.
        size: (height, width) of the original image.
    """

    grey: NDArray[np.uint8]
    scale: float
    size: tuple[int, int]


def shrink(image: NDArray[np.uint8]) -> SmallPicture:
    """Downscale an RGB image and convert it to grey."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    across, down = (max(1, round(side * scale)) for side in (width, height))
    small = cv2.resize(grey, (across, down), interpolation=cv2.INTER_LINEAR)
    return SmallPicture(np.asarray(small, np.uint8), scale, (height, width))


def joint_features(poses: Poses) -> NDArray[np.float32]:
    """Points to track by optical flow, ``(N, K, F, 2)`` image pixels; NaN for missing joints."""
    half = poses.sizes * (JOINT_BOX / 2)
    return poses.keypoints[:, :, None] + half[:, None, None, None] * PATTERN


def follow(
    before: SmallPicture, after: SmallPicture, points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Sparse optical flow from one frame to the next.

    Args:
        before: The earlier frame.
        after: The later frame.
        points: ``(..., 2)`` image pixels in ``before``; NaN is skipped.

    Returns:
        The points in ``after``, ``(..., 2)`` image pixels; NaN where a point is lost. All points
        are lost if the frames differ in size.

    Source: Lucas and Kanade 1981; Bouguet 2000 (pyramid).
    """
    moved = np.full_like(points, np.nan)
    height, width = before.grey.shape
    start = points * np.float32(before.scale)
    inside = ((start >= 0) & (start <= (width - 1, height - 1))).all(axis=-1)
    if before.size == after.size and inside.any():
        begin = np.asarray(start[inside], np.float32)
        ends, found, _ = cv2.calcOpticalFlowPyrLK(
            before.grey, after.grey, begin, begin.copy(), **LUCAS_KANADE
        )
        moved[inside] = np.where(found > 0, ends / np.float32(before.scale), np.nan)
    return moved


def matched_share(
    before: Poses, followed: NDArray[np.float32], after: Poses
) -> NDArray[np.float64]:
    """Inter-frame similarity of every pose before with every pose after.

    For each joint, the share of its features that end up in the same joint's box of the other pose.
    The similarity is the mean over the joints, weighted by the product of both confidences.

    Args:
        before: N poses of the earlier frame.
        followed: The `joint_features` of ``before`` after `follow`, ``(N, K, F, 2)``.
        after: M poses of the later frame.

    Returns:
        ``(N, M)`` in [0, 1].

    Source: PoseFlow (Xiu et al. 2018), inter-frame pose distance.
    Differs: features are tracked by optical flow instead of matched by descriptors, which needs no
        feature detector and takes a hundredth of the time; joints are weighted by confidence
        instead of equally; joint boxes are squares sized by the longer side of the person's box,
        because people are narrow.
    """
    if not len(before) or not len(after):
        return np.zeros((len(before), len(after)))
    half = after.sizes * (JOINT_BOX / 2)
    away = np.abs(followed[:, None] - after.keypoints[None, :, :, None])  # NaN compares as outside
    share = (away <= half[:, None, None, None]).all(axis=-1).mean(axis=-1)
    weight = before.keypoint_scores[:, None].astype(np.float64) * after.keypoint_scores[None]
    total = weight.sum(axis=2)
    return np.divide((share * weight).sum(axis=2), total, out=np.zeros_like(total), where=total > 0)


def limb_colors(
    image: NDArray[np.uint8], poses: Poses
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean colour along every limb, a description of a person's clothes.

    Returns:
        Lab colours ``(N, L, 3)`` (OpenCV's float range), and their trust ``(N, L)``: the lower
        confidence of the limb's two joints, 0 where a joint is missing or outside the image.
    """
    starts, ends = np.array(poses.skeleton.limbs, np.int64).reshape(-1, 2).T
    a = poses.keypoints[:, starts, None]
    b = poses.keypoints[:, ends, None]
    points = a + (b - a) * LIMB_SAMPLES  # (N, L, S, 2)
    height, width = image.shape[:2]
    inside = np.all((points >= 0) & (points <= (width - 1, height - 1)), axis=(2, 3))
    x, y = np.moveaxis(np.where(inside[..., None, None], points, 0).round().astype(np.int64), -1, 0)
    colors = image[y, x].mean(axis=2, dtype=np.float32) / np.float32(255)
    trust = np.minimum(poses.keypoint_scores[:, starts], poses.keypoint_scores[:, ends]) * inside
    return cv2.cvtColor(colors, cv2.COLOR_RGB2LAB) if colors.size else colors, trust
