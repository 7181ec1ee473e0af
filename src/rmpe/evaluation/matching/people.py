"""One-to-one matching of detections with annotated people, for error analysis.

AP does not use it: there matching is repeated at every threshold.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.submissions import People, Record
from rmpe.evaluation.matching.oks import oks

# Largest number of detections per image, as in COCO.
MOST = 20
# Smallest OKS of a match.
SMALLEST_OKS = 0.1


@dataclass(frozen=True, eq=False)
class ImageMatch:
    """People and detections of one image.

    Attributes:
        image_id: The image.
        truth: Annotations of counted people: not crowds, with labelled joints.
        ignored: The other annotations.
        found: Detections, best first.
        similarity: OKS ``(G, P)``.
        detection: ``(G,)``, index of each person's detection; -1 if missed.
    """

    image_id: int
    truth: list[Record]
    ignored: list[Record]
    found: list[Record]
    similarity: NDArray[np.float64]
    detection: NDArray[np.int64]


def match_people(
    people: People, results: list[Record], sigmas: tuple[float, ...], min_score: float = 0.0
) -> list[ImageMatch]:
    """Match each detection, best first, with the most similar person who is not yet matched.

    Args:
        people: The annotations.
        results: Checked detections.
        sigmas: OKS constants of the joints.
        min_score: Detections with a lower score are left out.

    Returns:
        One match per image, in the order of ``people.image_ids``.

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
        _match_image(image, annotations[image], detections[image], sigmas)
        for image in people.image_ids
    ]


def _match_image(
    image_id: int, annotations: list[Record], found: list[Record], sigmas: tuple[float, ...]
) -> ImageMatch:
    counts = [not a["iscrowd"] and a.get("num_keypoints", 0) > 0 for a in annotations]
    truth = [a for a, counted in zip(annotations, counts, strict=True) if counted]
    ignored = [a for a, counted in zip(annotations, counts, strict=True) if not counted]
    found = sorted(found, key=lambda result: -result["score"])[:MOST]
    areas = [a["area"] for a in truth]
    similarity = oks(joints_of(truth, len(sigmas)), joints_of(found, len(sigmas)), areas, sigmas)
    detection = np.full(len(truth), -1, np.int64)
    for index in range(len(found) if truth else 0):
        free = np.where(detection < 0, similarity[:, index], -1)
        if free.max() >= SMALLEST_OKS:
            detection[free.argmax()] = index
    return ImageMatch(image_id, truth, ignored, found, similarity, detection)


def joints_of(records: list[Record], joints: int) -> NDArray[np.float64]:
    """Joints ``(N, K, 2)`` of COCO records; NaN where the third number is not above 0."""
    rows = np.array([record["keypoints"] for record in records], np.float64).reshape(-1, joints, 3)
    result: NDArray[np.float64] = np.where(rows[..., 2:] > 0, rows[..., :2], np.nan)
    return result
