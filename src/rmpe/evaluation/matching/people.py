"""Which detection belongs to which annotated person, for looking at errors (AP matches anew at every threshold)."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.submissions import People, Record
from rmpe.evaluation.matching.oks import oks

# COCO looks at no more detections of an image.
MOST = 20
# A detection less similar than this has nothing to do with a person.
SMALLEST_OKS = 0.1


@dataclass(frozen=True, eq=False)
class ImageMatch:
    """People and detections of one image.

    Attributes:
        image_id: The image.
        truth: Annotations of people who count: no crowds, with labelled joints.
        ignored: The other annotations.
        found: Detections, best first.
        similarity: OKS ``(G, P)``.
        match: ``(G,)`` index of each person's detection, -1 = missed.
    """

    image_id: int
    truth: list[Record]
    ignored: list[Record]
    found: list[Record]
    similarity: NDArray[np.float64]
    match: NDArray[np.int64]


def match_people(
    people: People, results: list[Record], sigmas: tuple[float, ...], min_score: float = 0.0
) -> list[ImageMatch]:
    """Match detections, best first, each to the most similar person who is still free.

    Args:
        people: The annotations.
        results: Checked detections.
        sigmas: OKS constants of the joints.
        min_score: Detections below are left out.

    Returns:
        One match an image, in the order of ``people.image_ids``.

    Source: Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation
    (ICCV 2017).
    """
    annotations = defaultdict(list)
    detections = defaultdict(list)
    for annotation in people.annotations:
        annotations[annotation["image_id"]].append(annotation)
    for result in results:
        if result["score"] >= min_score:
            detections[result["image_id"]].append(result)
    return [
        _match(image, annotations[image], detections[image], sigmas) for image in people.image_ids
    ]


def _match(
    image_id: int, annotations: list[Record], found: list[Record], sigmas: tuple[float, ...]
) -> ImageMatch:
    counts = [not a["iscrowd"] and a.get("num_keypoints", 0) > 0 for a in annotations]
    truth = [a for a, counted in zip(annotations, counts, strict=True) if counted]
    ignored = [a for a, counted in zip(annotations, counts, strict=True) if not counted]
    found = sorted(found, key=lambda result: -result["score"])[:MOST]
    areas = [a["area"] for a in truth]
    similarity = oks(joints_of(truth, len(sigmas)), joints_of(found, len(sigmas)), areas, sigmas)
    match = np.full(len(truth), -1, np.int64)
    for index in range(len(found) if truth else 0):
        free = np.where(match < 0, similarity[:, index], -1)
        if free.max() >= SMALLEST_OKS:
            match[free.argmax()] = index
    return ImageMatch(image_id, truth, ignored, found, similarity, match)


def joints_of(records: list[Record], joints: int) -> NDArray[np.float64]:
    """Joints ``(N, K, 2)`` of COCO records; NaN where the third number is not above 0."""
    rows = np.array([record["keypoints"] for record in records], np.float64).reshape(-1, joints, 3)
    result: NDArray[np.float64] = np.where(rows[..., 2:] > 0, rows[..., :2], np.nan)
    return result
