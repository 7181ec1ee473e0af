"""COCO files as poses: results, or a data set with its people."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.annotations.coco import parse_coco
from rmpe.annotations.results import check_detections
from rmpe.errors import DataError
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton


def from_coco(path: str | Path, skeleton: str | Skeleton = "coco17") -> dict[int | str, Poses]:
    """Read poses from a COCO file.

    Of results, as ``rmpe predict`` writes them, the third number of a joint is its score. Of a data
    set it is the visibility, and labelled joints get a score of 1; crowds are left out.

    Args:
        path: A results file (a list) or a data set (with images and annotations).
        skeleton: Joints of the poses, or their name or file.

    Returns:
        The poses of each image, by its id; images of a data set without people are there, too.

    Raises:
        DataError: If the file cannot be read, or holds no keypoints of this skeleton.
    """
    joints = skeleton if isinstance(skeleton, Skeleton) else load_skeleton(skeleton)
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"poses are read from a file, not from {fields.shown(path)}")
    data = read_json(Path(path))
    if isinstance(data, dict):
        return _of_data_set(data, joints, str(path))
    numbers = {"keypoints": 3 * len(joints)}
    people: dict[int | str, list[dict[str, Any]]] = {}
    for row in check_detections(data, numbers, str(path)):
        people.setdefault(row["image_id"], []).append(row)
    return {image: _poses(rows, joints, str(path)) for image, rows in people.items()}


def _of_data_set(data: Any, skeleton: Skeleton, source: str) -> dict[int | str, Poses]:
    file = parse_coco(data, source)
    people: dict[int | str, list[dict[str, Any]]] = {image.id: [] for image in file.images}
    for person in file.people:
        if person.crowd or person.keypoints is None:
            continue
        if len(person.keypoints) != len(skeleton):
            raise DataError(
                f"{source}: annotation {person.id} has {len(person.keypoints)} joints,"
                f" {skeleton.name} has {len(skeleton)}: name the right skeleton"
            )
        points = person.keypoints.copy()
        points[:, 2] = points[:, 2] > 0
        row = {"keypoints": points, "bbox": person.box, "score": min(max(person.score, 0.0), 1.0)}
        people[person.image_id].append(row)
    return {image: _poses(rows, skeleton, source) for image, rows in people.items()}


def _poses(rows: list[dict[str, Any]], skeleton: Skeleton, source: str) -> Poses:
    if not rows:
        return Poses.empty(skeleton)
    triples = np.array([row["keypoints"] for row in rows], np.float64).reshape(
        len(rows), len(skeleton), 3
    )
    points = triples[..., :2].copy()
    scores = triples[..., 2]
    points[scores <= 0] = np.nan
    boxes = np.stack([_box(row, own) for row, own in zip(rows, points, strict=True)])
    sure = np.array([row["score"] for row in rows], np.float64)
    if scores.max() > 1 or sure.max() > 1 or min(scores.min(), sure.min()) < 0:
        raise DataError(f"{source}: scores of poses and joints must lie in [0, 1]")
    ids = [row["track_id"] if isinstance(row.get("track_id"), int) else -1 for row in rows]
    return Poses(points, scores, sure, boxes, skeleton, ids)


def _box(row: dict[str, Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The person's box xyxy; the extent of the joints where the file has none."""
    box = row.get("bbox")
    if box is not None:
        x, y, width, height = np.asarray(box, np.float64).tolist()
        return np.array([x, y, x + width, y + height])
    known = points[np.isfinite(points).all(axis=1)]
    if not len(known):
        return np.zeros(4)
    return np.concatenate([known.min(axis=0), known.max(axis=0)])
