"""A tiny synthetic data set in COCO's layout: stick figures on plain photos, easy to learn."""

import json
from pathlib import Path

import cv2
import numpy as np

from rmpe.skeletons import Skeleton

COLORS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (0, 255, 255),
    (255, 0, 255),
    (255, 255, 255),
    (128, 0, 255),
]


def write_set(
    folder: Path, skeleton: Skeleton, images: int = 3, seed: int = 0
) -> tuple[Path, Path]:
    """Two people per image, a dot of its own colour per joint; returns (annotations, folder)."""
    rng = np.random.default_rng(seed)
    photos = folder / "images"
    photos.mkdir(parents=True, exist_ok=True)
    data = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": skeleton.joints}],
    }
    for number in range(images):
        image = rng.integers(90, 130, (120, 160, 3)).astype(np.uint8)
        for place in range(2):
            box = np.array([10 + 75 * place, 15, 60, 90]) + rng.integers(-5, 5, 4)
            points = box[:2] + rng.random((len(skeleton), 2)) * box[2:]
            for joint, (x, y) in enumerate(points):
                cv2.circle(image, (round(x), round(y)), 4, COLORS[joint % len(COLORS)], -1)
            flags = np.where(rng.random(len(skeleton)) < 0.2, 0, 2)
            flags[0] = 2
            keypoints = np.concatenate(
                [np.where(flags[:, None] > 0, points, 0), flags[:, None]], axis=1
            )
            data["annotations"].append({
                "id": 10 * number + place, "image_id": number, "category_id": 1, "iscrowd": 0,
                "bbox": box.tolist(),
                "area": float(box[2] * box[3] * 0.53), "num_keypoints": int((flags > 0).sum()),
                "keypoints": keypoints.round(2).ravel().tolist(),
            })  # fmt: skip
        name = f"{number:04d}.png"
        cv2.imwrite(str(photos / name), image)
        data["images"].append({"id": number, "file_name": name, "height": 120, "width": 160})
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(data))
    return annotations, photos
