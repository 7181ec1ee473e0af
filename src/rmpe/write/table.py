"""A table for spreadsheets and data frames: one row a person."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rmpe.atomic import atomic
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FILE = "poses.csv"

IMAGE = ("image_id", "file_name", "frame", "seconds", "fps")
PERSON = ("person", "track_id", "score", "x1", "y1", "x2", "y2")


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``poses.csv``; arguments and errors as for `rmpe.write.coco.write`.

    ``frame`` and ``seconds`` say when a frame of a video is shown, ``fps`` how many there are a
    second; they are empty for photos. ``person`` counts the people of an image from 0. The
    coordinates of a missing joint are empty, as is the track id of a person who has none. The file
    is UTF-8: bytes of a file name that are no text are written as escapes, as in JSON.
    """
    path = out_dir / FILE
    with atomic(path) as file:
        write_to(file, records, skeleton)
    return path


def write_to(file: BinaryIO, records: Iterable[JournalRecord], skeleton: Skeleton) -> None:
    """Write the table into an open file."""
    joints = [f"{joint}_{part}" for joint in skeleton.joints for part in ("x", "y", "score")]
    text = io.TextIOWrapper(
        file, "utf-8", errors="backslashreplace", newline="", write_through=True
    )
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*IMAGE, *PERSON, *joints])
    rows.writerows(row for record in records for row in _rows(record))
    text.detach()


def _rows(record: JournalRecord) -> Iterator[list[int | float | str]]:
    poses = record.poses
    joints = (
        np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=2)
        .astype(np.float64)
        .round(3)
    )
    cells = np.where(np.isfinite(joints), joints.astype(object), "")
    boxes = poses.boxes.astype(np.float64).round(3)
    scores = poses.scores.astype(np.float64).round(6)
    when: tuple[int | float | str, ...] = ("", "", "")
    if record.fps is not None:
        when = (record.image_id, round(record.seconds, 6), round(record.fps, 6) or "")
    for person in range(len(poses)):
        track_id = int(poses.track_ids[person])
        yield [
            *(record.image_id, record.file_name, *when),
            *(person, track_id if track_id >= 0 else "", float(scores[person])),
            *boxes[person].tolist(),
            *cells[person].ravel().tolist(),
        ]
