"""PoseTrack 2018 JSON: images, annotations and one category with PoseTrack's 17 joints.

Joints that a skeleton has not are ``0, 0, 0`` with score 0. The neck (``head_bottom``) is the
middle of the shoulders, unless the skeleton has it; the head top cannot be told from COCO's joints
and stays missing.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import atomic
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FILE = "posetrack.json"

JOINTS = (
    "nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
NECK = JOINTS.index("head_bottom")
SHOULDERS = [JOINTS.index("left_shoulder"), JOINTS.index("right_shoulder")]


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``posetrack.json``; arguments and errors as for `rmpe.write.coco.write`.

    People without a track id are left out. Image ids and ``frame_id`` are those of the records.
    """
    path = out_dir / FILE
    categories = [{"id": 1, "name": "person", "supercategory": "person", "keypoints": JOINTS}]
    # The people are written as they come; the images wait in a file, because the format wants two
    # lists.
    with tempfile.TemporaryFile() as images, atomic(path) as file:
        file.write(b'{"categories":' + json.dumps(categories).encode() + b',"annotations":[')
        first_image = True
        first_person = True
        for record in records:
            images.write(_row(_image(record), first=first_image))
            first_image = False
            for person in _people(record, skeleton):
                file.write(_row(person, first=first_person))
                first_person = False
        file.write(b'\n],"images":[')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write(b"\n]}\n")
    return path


def _row(item: dict[str, Any], *, first: bool) -> bytes:
    return (b"\n" if first else b",\n") + json.dumps(item).encode()


def _image(record: JournalRecord) -> dict[str, Any]:
    height, width = record.size
    numbers = {"id": record.image_id, "frame_id": record.image_id, "width": width, "height": height}
    return numbers | {"file_name": record.file_name, "vid_id": Path(record.path).stem}


def _people(record: JournalRecord, skeleton: Skeleton) -> Iterator[dict[str, Any]]:
    poses = record.poses[record.poses.track_ids >= 0]
    for row, box, score, track_id in zip(
        posetrack_joints(poses, skeleton),
        poses.boxes.tolist(),
        poses.scores.tolist(),
        poses.track_ids,
        strict=True,
    ):
        joints = row.astype(np.float64).round(3)
        yield {
            "image_id": record.image_id,
            "category_id": 1,
            "track_id": int(track_id),
            "keypoints": joints.ravel().tolist(),
            "scores": joints[:, 2].tolist(),
            "score": round(score, 6),
            "bbox": [
                round(value, 3) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1])
            ],
        }


def posetrack_joints(poses: Poses, skeleton: Skeleton) -> NDArray[np.float32]:
    """PoseTrack's joints, ``(N, 17, 3)``: x, y, score; zeros where a joint is missing."""
    names = ["head_bottom" if name == "upper_neck" else name for name in skeleton.joints]
    ours = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
    rows = np.zeros((len(poses), len(JOINTS), 3), np.float32)
    for index, name in enumerate(JOINTS):
        if name in names:
            rows[:, index] = ours[:, names.index(name)]
    if "head_bottom" not in names:
        rows[:, NECK] = rows[:, SHOULDERS].mean(axis=1)
        rows[:, NECK, 2] = rows[:, SHOULDERS, 2].min(axis=1)
    rows[~np.isfinite(rows).all(axis=2) | (rows[..., 2] <= 0)] = 0
    return rows
