"""COCO results: one list of people for all images, as ``loadRes`` of the COCO tools reads it.

Source: https://cocodataset.org/#format-results (keypoint detection).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rmpe.atomic import write_list
from rmpe.skeletons import Skeleton
from rmpe.write.journal import JournalRecord

FILE = "coco.json"


def write(records: Iterable[JournalRecord], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
    """Write ``coco.json``.

    Args:
        records: One per image.
        skeleton: Unused: the poses carry theirs.
        out_dir: Folder, made if need be.

    Returns:
        The file.

    Raises:
        OutputError: If it cannot be written.
    """
    return write_list(out_dir / FILE, people(records))


def people(records: Iterable[JournalRecord]) -> Iterator[str]:
    """One JSON object a person."""
    for record in records:
        yield from map(json.dumps, record.poses.to_coco(record.image_id))


def write_images(records: Iterable[JournalRecord], out_dir: Path) -> Path:
    """Write ``images.json``: every image, also those with nobody in them.

    Raises:
        OutputError: If it cannot be written.
    """
    return write_list(out_dir / "images.json", map(json.dumps, map(image_row, records)))


def image_row(record: JournalRecord) -> dict[str, Any]:
    """An image as COCO lists it: id, file name, height, width, and its path."""
    return {
        "id": record.image_id,
        "file_name": record.file_name,
        "path": record.path,
        "height": record.size[0],
        "width": record.size[1],
    }
