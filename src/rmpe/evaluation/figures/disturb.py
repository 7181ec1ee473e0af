"""True boxes perturbed to a given IoU, to measure the sensitivity to detector errors."""

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, iou
from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People, Record

Floats = NDArray[np.float64]

IOUS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
TOLERANCE = 0.02
# Largest shift of the centre (fraction of the side) and largest factor of both sides.
SHIFT = 0.5
SCALE = 2.0
ROUNDS = 200
DRAWS = 64


def disturbed_boxes(people: People, target: float, seed: int = 0) -> list[Record]:
    """Shift and scale each person's true box at random until its IoU with the true box is as given.

    The centre shifts by up to half a side along each axis, and both sides are multiplied by a
    common factor between 1/2 and 2; a strength, uniform between 0 and 1, scales both. The box is
    clipped to the image, like a detector's, before the IoU is computed. The draws depend only on
    the annotation id, the target and the seed.

    Args:
        people: COCO annotations; crowds and people without a labelled joint are left out.
        target: The IoU to reach, within ``TOLERANCE``.
        seed: Seed of the draws.

    Returns:
        COCO box results with score 1, in the order of the annotations.

    Raises:
        DataError: If no such box is found, e.g. because the person fills the image.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in people.images}
    results = []
    for person in people.annotations:
        if person["iscrowd"] or not person.get("num_keypoints", 0):
            continue
        x, y, width, height = person["bbox"]
        generator = np.random.default_rng([seed, round(100 * target), person["id"]])
        box = _disturb(
            np.array([x, y, x + width, y + height]), sizes[person["image_id"]], target, generator
        )
        if box is None:
            raise DataError(
                f"annotation {person['id']}: found no box with IoU {target} to {person['bbox']}"
            )
        xywh = Boxes([box]).xywh[0]
        results.append(
            {
                "image_id": person["image_id"],
                "category_id": people.category_id,
                "bbox": [round(float(value), 3) for value in xywh],
                "score": 1.0,
            }
        )
    return results


def _disturb(
    true: Floats, size: tuple[int, int], target: float, generator: np.random.Generator
) -> Floats | None:
    """The first of many random boxes with the target IoU; None if there is none."""
    center = (true[:2] + true[2:]) / 2
    side = true[2:] - true[:2]
    for _ in range(ROUNDS):
        strength = generator.uniform(0, 1, (DRAWS, 1))
        moved = center + strength * SHIFT * generator.uniform(-1, 1, (DRAWS, 2)) * side
        half = SCALE ** (strength * generator.uniform(-1, 1, (DRAWS, 1))) * side / 2
        drawn = np.concatenate([moved - half, moved + half], axis=1)
        drawn = np.clip(drawn, 0, [size[1], size[0], size[1], size[0]])
        fits = (
            np.abs(iou(drawn.astype(np.float32), true[None].astype(np.float32))[:, 0] - target)
            <= TOLERANCE
        )
        if fits.any():
            return drawn[np.argmax(fits)]
    return None
