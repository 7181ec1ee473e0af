"""COCO results: one list of people for all images, as ``loadRes`` of the COCO tools reads it.

Source: https://cocodataset.org/#format-results (keypoint detection).
"""

import json
from collections.abc import Iterable
from pathlib import Path

from rmpe.skeletons import Skeleton
from rmpe.write.atomic import write_list
from rmpe.write.journal import Record


def write(records: Iterable[Record], skeleton: Skeleton, out_dir: Path) -> Path:  # noqa: ARG001
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
    people = (person for record in records for person in record.poses.to_coco(record.image_id))
    return write_list(out_dir / "coco.json", map(json.dumps, people))


def write_images(records: Iterable[Record], out_dir: Path) -> Path:
    """Write ``images.json``: id, file name, path, height and width of every image, also of those
    with nobody in them.

    Raises:
        OutputError: If it cannot be written.
    """
    images = (
        {
            "id": record.image_id,
            "file_name": record.file_name,
            "path": record.path,
            "height": record.size[0],
            "width": record.size[1],
        }
        for record in records
    )
    return write_list(out_dir / "images.json", map(json.dumps, images))
