"""OpenPose's result files: one per image, 25 joints (BODY_25).

Joints that a skeleton has not are ``0, 0, 0``, as OpenPose writes what it did not find. The neck is
the middle of the shoulders and the middle hip that of the hips, unless the skeleton has them. Feet
are written where the skeleton has toes and heels of OpenPose's names (``left_big_toe``, ...).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.joints import plain_name
from rmpe.errors import OutputError
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.write.atomic import atomic
from rmpe.write.journal import Record

BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist", "mid_hip",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
SAME = {"neck": "upper_neck", "mid_hip": "pelvis"}  # other names of the same joint
MIDDLE = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
NOT_FOUND: tuple[str, ...] = (
    "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d",
    "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d",
)  # fmt: skip


def write(records: Iterable[Record], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    """Write ``openpose/NAME_keypoints.json`` for every image, also for those with nobody in them.

    Arguments and errors as for `rmpe.write.coco.write`.

    Returns:
        The folder.
    """
    folder = out_dir / "openpose"
    failures = []
    for record in records:
        try:
            with atomic(folder / f"{record.name}_keypoints.json") as file:
                file.write(encode(record.poses))
        except OutputError as error:  # one name that cannot be written does not stop the others
            failures.append(str(error))
    if failures:
        others = f" ({len(failures) - 1} more files failed)" if failures[1:] else ""
        raise OutputError(failures[0] + others)
    return folder


def encode(poses: Poses) -> bytes:
    """The file of one image."""
    return json.dumps({"version": 1.3, "people": _people(poses)}).encode()


def _people(poses: Poses) -> list[dict[str, Any]]:
    rows = body_25(poses).astype(np.float64).round(3)
    return [
        {"person_id": [int(track_id)], "pose_keypoints_2d": row.ravel().tolist()}
        | {key: [] for key in NOT_FOUND}
        for row, track_id in zip(rows, poses.track_ids, strict=True)
    ]


def body_25(poses: Poses) -> NDArray[np.float32]:
    """The joints that OpenPose has, ``(N, 25, 3)``: x, y, score; zeros where a joint is missing."""
    rows = np.zeros((len(poses), len(BODY_25), 3), np.float32)
    ours = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    joints = {plain_name(name): ours[:, index] for index, name in enumerate(poses.skeleton.joints)}
    for index, name in enumerate(BODY_25):
        if (own := joints.get(name, joints.get(SAME.get(name, "")))) is not None:
            rows[:, index] = own
        elif (
            name in MIDDLE
            and (pair := [joints[side] for side in MIDDLE[name] if side in joints])[1:]
        ):
            rows[:, index, :2] = (pair[0][:, :2] + pair[1][:, :2]) / 2
            rows[:, index, 2] = np.minimum(pair[0][:, 2], pair[1][:, 2])
    rows[~np.isfinite(rows).all(axis=2)] = 0
    return rows
