"""COCO-WholeBody results: one list of people for all images, each part of the body under its key.

Source: Jin et al., "Whole-body human pose estimation in the wild" (ECCV 2020), and the data format
of its repository.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rmpe.atomic import write_list
from rmpe.errors import OutputError
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.write.journal import JournalRecord

FILE = "coco_wholebody.json"

# Key in a file -> the joints of the skeleton wholebody133 that it holds.
PARTS = {
    "keypoints": slice(0, 17),
    "foot_kpts": slice(17, 23),
    "face_kpts": slice(23, 91),
    "lefthand_kpts": slice(91, 112),
    "righthand_kpts": slice(112, 133),
}


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:
    """Write ``coco_wholebody.json``; joints that the poses have not are ``0, 0, 0``.

    Args:
        records: One per image.
        skeleton: The joints of the poses.
        out_dir: Folder, made if need be.

    Returns:
        The file.

    Raises:
        OutputError: If the poses have no joint of a whole body, or it cannot be written.
    """
    whole = load_skeleton("wholebody133")
    if not set(skeleton.joints) & set(whole.joints):
        raise OutputError(f"coco-wholebody: {skeleton.name} has no joint of a whole body")
    people = (
        split_parts(person)
        for record in records
        for person in record.poses.to_skeleton(whole).to_coco(record.image_id)
    )
    return write_list(out_dir / FILE, map(json.dumps, people))


def split_parts(person: dict[str, Any]) -> dict[str, Any]:
    """A COCO result of 133 joints with each part under its key; any other is left as it is."""
    numbers = person.get("keypoints")
    if not isinstance(numbers, list) or len(numbers) != 3 * PARTS["righthand_kpts"].stop:
        return person
    return person | {key: numbers[3 * part.start : 3 * part.stop] for key, part in PARTS.items()}
