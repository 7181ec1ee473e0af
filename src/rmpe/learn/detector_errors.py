"""Localisation errors of a detector: its boxes matched with true boxes, from COCO or MPII files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import iou, to_xyxy
from rmpe.errors import DataError
from rmpe.evaluation.files.mpii import MpiiPerson, read_mpii_people
from rmpe.evaluation.files.submissions import Record, read_people, read_results
from rmpe.files import read_json
from rmpe.propose.offsets import Offsets, relative_offsets
from rmpe.skeletons import Skeleton, load_skeleton


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


def match_mpii(annotations: Path, detections: Path) -> Matches:
    """`match_coco` for MPII; a true box is `rmpe.evaluation.files.mpii.MpiiPerson.box`.

    Args:
        annotations: MPII's annotations, see `rmpe.evaluation.files.mpii.read_mpii_people`.
        detections: COCO box results whose ``image_id`` is the photo's name; or a list of ``image``
            and ``box`` (xyxy), as the RMPE authors' boxes are written. Pixels count from 0.

    Raises:
        DataError: If a file cannot be read or is invalid, or no person has a detection.
    """
    boxes = _boxes_by_name(detections)
    people: dict[str, list[MpiiPerson]] = {}
    for person in read_mpii_people(annotations):
        if person.image in boxes and person.box is not None:
            people.setdefault(person.image, []).append(person)
    if not people:
        raise DataError(f"{detections}: no detection in any image with people of {annotations}")
    offsets = []
    ious = []
    for image, persons in people.items():
        true = np.concatenate([p.box.xyxy for p in persons if p.box is not None], dtype=np.float64)
        index, overlap = best_detections(true, boxes[image])
        offsets.append(relative_offsets(boxes[image][index], true))
        ious.append(overlap)
    joints = np.array([person.joints for persons in people.values() for person in persons])
    seen = np.isfinite(joints[..., 0])
    return Matches(
        np.concatenate(offsets),
        np.concatenate(ious),
        np.where(seen[..., None], joints[..., :2], 0),
        seen,
        np.repeat(np.arange(len(people)), [len(persons) for persons in people.values()]),
        load_skeleton("mpii16").joints,
    )


def _boxes_by_name(path: Path) -> dict[str, NDArray[np.float64]]:
    """Boxes ``(N, 4)`` xyxy of each photo."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    records = read_json(path)
    if not isinstance(records, list):
        raise DataError(f"{path}: expected a list of boxes")
    for index, record in enumerate(records):
        try:
            image = str(record["image_id"] if "image_id" in record else record["image"])
            corners = "box" in record
            box = np.array(record["box"] if corners else record["bbox"], np.float64).reshape(4)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: box {index}: needs image_id and bbox, or image and box: {error!r}"
            ) from error
        box = box if corners else to_xyxy([box])[0]
        if not (np.isfinite(box).all() and np.all(box[2:] > box[:2])):
            raise DataError(f"{path}: box {index}: {box.tolist()} is no box with sides above 0")
        found.setdefault(image, []).append(box)
    return {image: np.stack(boxes) for image, boxes in found.items()}


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
