"""People and boxes of COCO annotations, as the benchmarks take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes
from rmpe.evaluation.figures.bootstrap import Comparison
from rmpe.evaluation.files.submissions import People


def folder(data: Path, name: str = "coco-val") -> Path:
    """A data set: ``annotations.json`` and ``images/``."""
    return data / "data" / name


def targets(people: People) -> list[dict[str, Any]]:
    """The people whom keypoint AP is about: with labelled joints, and no crowd."""
    return [a for a in people.annotations if not a["iscrowd"] and a.get("num_keypoints", 0)]


def xyxy(records: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
    """Boxes ``(N, 4)`` of COCO records, as corners."""
    boxes = np.array([record["bbox"] for record in records], np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def given_boxes(people: People, records: Sequence[dict[str, Any]]) -> list[Boxes]:
    """The boxes of COCO records, image by image, all with score 1."""
    by_image: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in people.image_ids}
    for one in records:
        by_image[one["image_id"]].append(one)
    return [Boxes(xyxy(by_image[image_id])) for image_id in people.image_ids]


def interval(difference: Comparison) -> str:
    """A paired difference of shares and its 95 % interval, in points."""
    middle, low, high = (
        100 * value for value in (difference.difference, difference.low, difference.high)
    )
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]"
