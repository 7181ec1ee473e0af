"""OpenPose's result files: one per image, 25 joints (BODY_25), hands and face of whole bodies.

Joints that a skeleton has not are ``0, 0, 0``, as OpenPose writes what it did not find. The neck is
the middle of the shoulders and the middle hip that of the hips, unless the skeleton has them. Feet
are written where the skeleton has toes and heels of OpenPose's names (``left_big_toe``, ...).
Of OpenPose's 70 points of a face the last two, the pupils, are not in wholebody133 and stay 0.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.joints import plain_name
from rmpe.atomic import atomic
from rmpe.errors import OutputError
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FOLDER = "openpose"

BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist",
    "left_shoulder", "left_elbow", "left_wrist", "mid_hip",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
SAME = {"neck": ("upper_neck",), "mid_hip": ("pelvis", "hip")}  # other names of the same joint
MIDDLE = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
FACE = 70
HAND = ("hand_root", *(
    f"{finger}{number}"
    for finger in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    for number in (1, 2, 3, 4)
))  # fmt: skip
NOT_FOUND: tuple[str, ...] = (
    "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d",
)  # fmt: skip


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    """Write ``openpose/NAME_keypoints.json`` for every image, also for those with nobody in them.

    Arguments and errors as for `rmpe.write.coco.write`.

    Returns:
        The folder.
    """
    folder = out_dir / FOLDER
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
    parts = {
        "pose_keypoints_2d": body_25(poses),
        "face_keypoints_2d": _face(poses),
        "hand_left_keypoints_2d": _hand(poses, "left"),
        "hand_right_keypoints_2d": _hand(poses, "right"),
    }
    return [
        {"person_id": [int(track_id)]}
        | {
            key: rows[person].astype(np.float64).round(3).ravel().tolist()
            for key, rows in parts.items()
        }
        | {key: [] for key in NOT_FOUND}
        for person, track_id in enumerate(poses.track_ids)
    ]


def _hand(poses: Poses, side: str) -> NDArray[np.float32]:
    """A hand's joints in OpenPose's order ``(N, 21, 3)``; ``(N, 0, 3)`` without such joints."""
    return _rows(poses, [f"{side}_{joint}" for joint in HAND])


def _face(poses: Poses) -> NDArray[np.float32]:
    """A face's points in iBUG's order and two zeros ``(N, 70, 3)``; ``(N, 0, 3)`` without them."""
    rows = _rows(poses, [joint for joint in poses.skeleton.joints if "face_" in joint])
    missing = FACE - rows.shape[1] if rows.shape[1] else 0
    return np.pad(rows, ((0, 0), (0, missing), (0, 0)))


def _rows(poses: Poses, names: list[str]) -> NDArray[np.float32]:
    """Some joints by name ``(N, n, 3)``: x, y, score; none of them if one is not there."""
    joints = poses.skeleton.joints
    if not set(names) <= set(joints):
        names = []
    index = np.array([joints.index(name) for name in names], np.int64)
    rows = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)[:, index]
    return np.where(np.isfinite(rows).all(axis=2, keepdims=True), rows, np.float32(0))


def body_25(poses: Poses) -> NDArray[np.float32]:
    """The joints that OpenPose has, ``(N, 25, 3)``: x, y, score; zeros where a joint is missing."""
    rows = np.zeros((len(poses), len(BODY_25), 3), np.float32)
    ours = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    joints = {plain_name(name): ours[:, index] for index, name in enumerate(poses.skeleton.joints)}
    for index, name in enumerate(BODY_25):
        own = next((joints[one] for one in (name, *SAME.get(name, ())) if one in joints), None)
        if own is not None:
            rows[:, index] = own
        elif (
            name in MIDDLE
            and (pair := [joints[side] for side in MIDDLE[name] if side in joints])[1:]
        ):
            rows[:, index, :2] = (pair[0][:, :2] + pair[1][:, :2]) / 2
            rows[:, index, 2] = np.minimum(pair[0][:, 2], pair[1][:, 2])
    rows[~np.isfinite(rows).all(axis=2)] = 0
    return rows
