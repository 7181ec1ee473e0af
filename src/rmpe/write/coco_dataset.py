"""COCO annotations: results as a data set, as labelling tools and data set libraries read it.

Unlike COCO results the file names its images, categories and annotations by itself.

Source: https://cocodataset.org/#format-data (keypoint detection).
"""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rmpe.atomic import atomic
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton
from rmpe.write.coco import image_row
from rmpe.write.journal import JournalRecord

FILE = "coco-dataset.json"

VISIBLE = 2  # COCO's visibility of a joint that is labelled and seen


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``coco-dataset.json``; arguments and errors as for `rmpe.write.coco.write`.

    A joint's third number is COCO's visibility: 2, or 0 where it is missing. ``keypoint_scores``,
    ``score`` and ``track_id`` are extra keys.
    """
    path = out_dir / FILE
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": skeleton.joints,
        "skeleton": [[start + 1, end + 1] for start, end in skeleton.limbs],
    }
    number = 0
    # The people are written as they come; the images wait in a file, because the format wants two
    # lists.
    with tempfile.TemporaryFile() as images, atomic(path) as file:
        file.write(b'{"categories":' + json.dumps([category]).encode() + b',"annotations":[')
        first_image = True
        for record in records:
            images.write(_row(image_row(record), first=first_image))
            first_image = False
            for person in _people(record.poses, record.image_id):
                file.write(_row({"id": number + 1} | person, first=number == 0))
                number += 1
        file.write(b'\n],"images":[')
        images.seek(0)
        shutil.copyfileobj(images, file)
        file.write(b"\n]}\n")
    return path


def _people(poses: Poses, image_id: int) -> Iterable[dict[str, Any]]:
    for person in poses.to_coco(image_id):
        rows = person["keypoints"]
        scores = rows[2::3]
        joints = [
            [x, y, VISIBLE if score > 0 else 0]
            for x, y, score in zip(rows[::3], rows[1::3], scores, strict=True)
        ]
        yield person | {
            "keypoints": [value for joint in joints for value in joint],
            "keypoint_scores": scores,
            "num_keypoints": sum(score > 0 for score in scores),
            "area": round(person["bbox"][2] * person["bbox"][3], 3),
            "iscrowd": 0,
        }


def _row(item: dict[str, Any], *, first: bool) -> bytes:
    return (b"\n" if first else b",\n") + json.dumps(item).encode()
