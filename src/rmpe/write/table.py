"""A table for spreadsheets and data frames: one row a person."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from rmpe.skeletons import Skeleton
from rmpe.write.atomic import atomic
from rmpe.write.journal import Record

PERSON = ("image_id", "file_name", "person", "track_id", "score", "x1", "y1", "x2", "y2")


def write(records: Iterable[Record], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``poses.csv``; arguments and errors as for `rmpe.write.coco.write`.

    ``person`` counts the people of an image from 0. The coordinates of a missing joint are empty,
    as is the track id of a person who has none.
    """
    path = out_dir / "poses.csv"
    joints = [f"{joint}_{part}" for joint in skeleton.joints for part in ("x", "y", "score")]
    with atomic(path) as file:
        text = io.TextIOWrapper(
            file, "utf-8", errors="surrogateescape", newline="", write_through=True
        )
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([*PERSON, *joints])
        rows.writerows(row for record in records for row in _rows(record))
        text.detach()
    return path


def _rows(record: Record) -> Iterator[list[int | float | str]]:
    poses = record.poses
    joints = (
        np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
        .astype(np.float64)
        .round(3)
    )
    cells = np.where(np.isfinite(joints), joints.astype(object), "")
    boxes = poses.boxes.astype(np.float64).round(3)
    scores = poses.scores.astype(np.float64).round(6)
    for person in range(len(poses)):
        track_id = int(poses.track_ids[person])
        yield [
            *(
                record.image_id,
                record.file_name,
                person,
                track_id if track_id >= 0 else "",
                float(scores[person]),
            ),
            *boxes[person].tolist(),
            *cells[person].ravel().tolist(),
        ]
