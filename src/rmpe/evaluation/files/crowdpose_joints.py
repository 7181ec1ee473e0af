"""The joints of CrowdPose from COCO's.

CrowdPose has a head and a neck in place of COCO's nose, eyes and ears. The other twelve joints are
the same, and carry over by name in both directions; a face cannot be made from a head.
"""

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses
from rmpe.skeletons import Skeleton

NECK = "upper_neck"
HEAD = "head_top"
SHOULDERS = ("left_shoulder", "right_shoulder")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
# Heights of the top of the head, the eyes and the shoulders as shares of a standing person's.
TOP = 1.0
EYES = 0.936
SHOULDER = 0.818


def to_crowdpose(poses: Poses, target: Skeleton) -> Poses:
    """Poses with the joints of CrowdPose.

    Joints of the same name carry over. Where the poses have no neck, it is the middle of the
    shoulders, with the lower of their scores. Where they have no head, it lies on the line from
    that middle through the middle of the joints of the face that were found, as far beyond as a
    standing person's is; its score is the lower one of the neck and the face's mean.

    Args:
        poses: Of any skeleton.
        target: CrowdPose's skeleton.

    Source: body proportions of Drillis and Contini, "Body segment parameters" (1966).
    """
    moved = poses.to_skeleton(target)
    joints = poses.skeleton.joints
    if not len(poses) or not set(SHOULDERS) <= set(joints):
        return moved
    points = moved.keypoints.copy()
    scores = moved.keypoint_scores.copy()
    shoulders = [joints.index(name) for name in SHOULDERS]
    middle, sure = _middle(poses, shoulders)
    sure = np.where((poses.keypoint_scores[:, shoulders] > 0).all(axis=1), sure, 0)
    neck, head = target.joints.index(NECK), target.joints.index(HEAD)
    if NECK not in joints:
        points[:, neck] = np.where(sure[:, None] > 0, middle, np.nan)
        scores[:, neck] = sure
    face = [joints.index(name) for name in FACE if name in joints]
    if HEAD not in joints and face:
        seen, _ = _middle(poses, face)
        known = poses.keypoint_scores[:, face] > 0
        mean = poses.keypoint_scores[:, face].sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        likely = np.minimum(mean, sure)
        reach = (TOP - SHOULDER) / (EYES - SHOULDER)
        points[:, head] = np.where(likely[:, None] > 0, middle + reach * (seen - middle), np.nan)
        scores[:, head] = likely
    return moved.replace(keypoints=points, keypoint_scores=scores)


def _middle(poses: Poses, joints: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean place ``(N, 2)`` of the joints that were found, and the lowest score ``(N,)``."""
    scores = poses.keypoint_scores[:, joints]
    found = (scores > 0)[..., None]
    total = np.where(found, poses.keypoints[:, joints], 0).sum(axis=1)
    return total / np.maximum(found.sum(axis=1), 1), scores.min(axis=1)
