"""Localisation errors of a detector: its boxes matched with true boxes, both from COCO files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import iou, to_xyxy
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import Record, read_people, read_results
from rmpe.propose.offsets import Offsets, relative_offsets
from rmpe.skeletons import Skeleton


@dataclass(frozen=True, eq=False)
class Matches:
    """Annotated people with their detections.

    Attributes:
        offsets: ``(N, 4)``, detected minus true edge (left, top, right, bottom) as fractions of the
            true box's sides.
        ious: ``(N,)``, IoU of the detection with the true box.
        keypoints: ``(N, K, 2)``, image pixels.
        visible: ``(N, K)`` bool, labelled joints.
        image_ids: ``(N,)``.
        joints: Names of the K joints.
    """

    offsets: Offsets
    ious: NDArray[np.float64]
    keypoints: NDArray[np.float64]
    visible: NDArray[np.bool_]
    image_ids: NDArray[np.int64]
    joints: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: NDArray[Any]) -> "Matches":
        return Matches(
            self.offsets[index],
            self.ious[index],
            self.keypoints[index],
            self.visible[index],
            self.image_ids[index],
            self.joints,
        )


def best_detections(
    true: NDArray[np.float64], detected: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The detection with the highest IoU for each true box.

    Args:
        true: ``(N, 4)`` xyxy.
        detected: ``(M, 4)`` xyxy, M > 0.

    Returns:
        Indices of the detections ``(N,)`` and their IoUs ``(N,)``.
    """
    overlap = iou(true.astype(np.float32), detected.astype(np.float32))
    return np.argmax(overlap, axis=1), overlap.max(axis=1)


def match_coco(annotations: Path, detections: Path, skeleton: Skeleton) -> Matches:
    """Match the people of a COCO keypoint file with a COCO file of box results.

    Each person who is not a crowd, has a box with positive sides and at least one labelled joint is
    matched with the detection of highest IoU in the same image, whatever its score. Two people may
    share a detection. People in images without detections are left out. No IoU threshold is
    applied here.

    Raises:
        DataError: If a file cannot be read or is invalid, or its joints differ from ``skeleton``.
    """
    people = read_people(annotations, skeleton)
    detected = _by_image(read_results(detections, people, "bbox")[0])
    persons = _by_image(person for person in people.annotations if _usable(person))
    found = [
        (persons[image_id], detected[image_id]) for image_id in persons if image_id in detected
    ]
    if not found:
        raise DataError(f"{detections}: no detection in any image with people of {annotations}")
    offsets = []
    ious = []
    for true, boxes in ((_xyxy(persons), _xyxy(boxes)) for persons, boxes in found):
        index, overlap = best_detections(true, boxes)
        offsets.append(relative_offsets(boxes[index], true))
        ious.append(overlap)
    matched = [person for persons, _ in found for person in persons]
    keypoints = np.array([person["keypoints"] for person in matched], np.float64).reshape(
        len(matched), -1, 3
    )
    return Matches(
        np.concatenate(offsets),
        np.concatenate(ious),
        keypoints[..., :2],
        keypoints[..., 2] > 0,
        np.array([person["image_id"] for person in matched], np.int64),
        skeleton.joints,
    )


def _usable(person: Record) -> bool:
    return (
        not person["iscrowd"] and person.get("num_keypoints", 0) > 0 and min(person["bbox"][2:]) > 0
    )


def _by_image(records: Iterable[Record]) -> dict[int, list[Record]]:
    groups: dict[int, list[Record]] = {}
    for record in records:
        groups.setdefault(record["image_id"], []).append(record)
    return groups


def _xyxy(records: list[Record]) -> NDArray[np.float64]:
    return to_xyxy([record["bbox"] for record in records])
