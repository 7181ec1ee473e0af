"""The crowd index of images, and AP by crowding.

Source: Li et al., CrowdPose (CVPR 2019), section 4.1: the crowd index.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.submissions import People, Record
from rmpe.evaluation.protocols.coco import CocoEvaluation

# CrowdPose's three levels of the crowd index; lower bound inclusive, upper bound exclusive.
LEVELS = {"easy": (0.0, 0.2), "medium": (0.2, 0.8), "hard": (0.8, np.inf)}


def crowd_index(people: list[Record]) -> float:
    """Mean over the people of an image of (others' joints inside the person's box) / (own joints).

    Args:
        people: COCO annotations of one image; crowd regions and people without labelled joints are
            skipped.

    Returns:
        The index; 0 for an image without overlaps or without people.

    Source: Li et al. (2019), the crowd index.
    Differs: not capped at 1, like the released values.
    """
    counted = [
        person for person in people if not person["iscrowd"] and person.get("num_keypoints", 0) > 0
    ]
    if not counted:
        return 0.0
    joints = np.array([person["keypoints"] for person in counted], np.float64).reshape(
        len(counted), -1, 3
    )
    labelled = joints[..., 2] > 0
    boxes = np.array([person["bbox"] for person in counted], np.float64)
    start = boxes[:, :2]
    end = boxes[:, :2] + boxes[:, 2:]
    points = joints[None, ..., :2]
    inside = (
        np.all((points >= start[:, None, None]) & (points <= end[:, None, None]), axis=3) & labelled
    )
    per_person = inside.sum(axis=2)  # (box, whose joints)
    others = per_person.sum(axis=1) - np.diagonal(per_person)
    return float(np.mean(others / labelled.sum(axis=1)))


def image_crowding(people: People) -> NDArray[np.float64]:
    """Crowd index of each of ``people.image_ids``: the file's ``crowdIndex``, or else computed."""
    given = {image["id"]: image.get("crowdIndex") for image in people.images}
    by_image = defaultdict(list)
    for annotation in people.annotations:
        by_image[annotation["image_id"]].append(annotation)
    return np.array(
        [
            crowd_index(by_image[image]) if given[image] is None else given[image]
            for image in people.image_ids
        ]
    )


def levels(crowding: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Masks of the easy, medium and hard images, from their crowd indices."""
    return {name: (crowding >= low) & (crowding < high) for name, (low, high) in LEVELS.items()}


def ap_by_crowding(evaluation: CocoEvaluation, crowding: NDArray[np.float64]) -> dict[str, float]:
    """AP over the easy, medium and hard images separately; -1 for a level without people."""
    images = np.array(evaluation.people.image_ids)
    return {
        name: evaluation.ap_of(images[chosen].tolist()) for name, chosen in levels(crowding).items()
    }
