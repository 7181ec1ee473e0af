"""Perturbed true boxes: target IoU and reproducibility."""

import numpy as np
import pytest

from rmpe.boxes import iou
from rmpe.errors import DataError
from rmpe.evaluation.figures.disturb import IOUS, TOLERANCE, disturbed_boxes
from rmpe.evaluation.files.submissions import check_people


def people(boxes: list[list[float]], **changes: int):
    keypoints = [10.0, 10.0, 2] * 17
    annotations = [
        {
            "id": 7 + number,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": box,
            "keypoints": keypoints,
            **changes,
        }
        for number, box in enumerate(boxes)
    ]
    return check_people(
        {"images": [{"id": 1, "width": 640, "height": 480}], "annotations": annotations}
    )


BOXES = [
    [0, 0, 50, 100],
    [300, 200, 80, 60],
    [590, 300, 50, 180],
    [5, 5, 620, 400],
    [100, 100, 3, 4],
]


def corners(xywh: list) -> np.ndarray:
    boxes = np.array(xywh, np.float32)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


@pytest.mark.parametrize("target", IOUS)
def test_boxes_have_the_wanted_iou_and_lie_in_the_image(target: float) -> None:
    results = disturbed_boxes(people(BOXES), target)
    drawn = corners([result["bbox"] for result in results])
    assert np.all(np.abs(np.diag(iou(drawn, corners(BOXES))) - target) <= TOLERANCE + 1e-3)
    assert np.all(drawn >= 0) and np.all(drawn <= [640, 480, 640, 480])
    assert all(result["score"] == 1 and result["image_id"] == 1 for result in results)


def test_draws_depend_on_person_target_and_seed_only() -> None:
    first = disturbed_boxes(people(BOXES), 0.7)
    assert disturbed_boxes(people(BOXES), 0.7) == first
    assert disturbed_boxes(people(BOXES[:2]), 0.7) == first[:2]
    assert disturbed_boxes(people(BOXES), 0.7, seed=1) != first


def test_crowds_and_people_without_joints_are_left_out() -> None:
    assert disturbed_boxes(people([]), 0.7) == []
    assert disturbed_boxes(people(BOXES, iscrowd=1), 0.7) == []
    assert disturbed_boxes(people(BOXES, keypoints=[0] * 51), 0.7) == []


def test_impossible_iou_is_refused() -> None:
    with pytest.raises(DataError, match=r"IoU 0\.01"):
        disturbed_boxes(people([[0, 0, 640, 480]]), 0.01)
