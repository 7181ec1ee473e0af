"""AlphaPose's result file: COCO's list, but ``image_id`` is the file name, ``box`` the box."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rmpe.atomic import write_list
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FILE = "alphapose-results.json"


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    """Write ``alphapose-results.json``; arguments and errors as for `rmpe.write.coco.write`."""
    people = (json.dumps(person) for record in records for person in _people(record))
    return write_list(out_dir / FILE, people)


def _people(record: JournalRecord) -> Iterator[dict[str, Any]]:
    for person in record.poses.to_coco(record.image_id):
        yield {
            "image_id": record.file_name,
            "category_id": person["category_id"],
            "keypoints": person["keypoints"],
            "score": person["score"],
            "box": person["bbox"],
        } | ({"idx": person["track_id"]} if "track_id" in person else {})
