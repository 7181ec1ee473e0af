"""Recall of person boxes by size and by crowding; a person without a box has no pose."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import iou, to_xyxy
from rmpe.evaluation.files.submissions import People
from rmpe.evaluation.protocols.coco import THRESHOLDS, CocoEvaluation

RECALL_AT = (0.5, 0.7)
# Area in square pixels, COCO's own limits.
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
# Highest IoU of a person's box with any other person's.
CROWDING = {"alone": (0.0, 0.1), "near": (0.1, 0.3), "crowded": (0.3, np.inf)}


def box_recall(people: People, evaluation: CocoEvaluation) -> dict[str, Any]:
    """Recall at IoU 0.5 and 0.7: of all people, by their area, and by overlap with other boxes.

    Args:
        people: The annotations.
        evaluation: Evaluation of boxes by `rmpe.evaluation.protocols.coco.evaluate_coco`.

    Returns:
        ``recall50``, ``recall70`` and the same with ``_small`` ... ``_crowded`` appended, -1 for an
        empty group; and ``n_all``, ``n_small`` ... ``n_crowded``, the number of people in each
        group. Crowd regions are not counted.
    """
    counted = [
        annotation for annotation in people.annotations if annotation["id"] in evaluation.found
    ]
    found = np.array([evaluation.found[annotation["id"]] for annotation in counted], bool).reshape(
        -1, len(THRESHOLDS)
    )
    boxes = np.array([annotation["bbox"] for annotation in counted], np.float64).reshape(-1, 4)
    areas = np.array([a.get("area", a["bbox"][2] * a["bbox"][3]) for a in counted])
    overlap = highest_overlap(np.array([annotation["image_id"] for annotation in counted]), boxes)
    groups = {"all": np.ones(len(counted), bool)}
    groups |= {name: (areas >= low) & (areas < high) for name, (low, high) in SIZES.items()}
    groups |= {name: (overlap >= low) & (overlap < high) for name, (low, high) in CROWDING.items()}
    figures: dict[str, Any] = {}
    for threshold in RECALL_AT:
        hits = found[:, np.argmin(np.abs(THRESHOLDS - threshold))]
        for name, members in groups.items():
            key = f"recall{threshold * 100:.0f}" + ("" if name == "all" else f"_{name}")
            figures[key] = float(hits[members].mean()) if members.any() else -1.0
    return figures | {f"n_{name}": int(members.sum()) for name, members in groups.items()}


def highest_overlap(image_ids: NDArray[np.int64], xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Highest IoU ``(N,)`` of each box ``(N, 4)`` with another box of the same image, or 0."""
    xyxy = to_xyxy(xywh)
    highest = np.zeros(len(xywh))
    for image in np.unique(image_ids):
        members = np.flatnonzero(image_ids == image)
        overlaps = iou(xyxy[members], xyxy[members])
        np.fill_diagonal(overlaps, 0)
        highest[members] = overlaps.max(axis=1)
    return highest
