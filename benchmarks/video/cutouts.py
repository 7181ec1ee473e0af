"""People cut out of photos by their own joints."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rmpe.media.images import read_image
from rmpe.skeletons import load_skeleton

COCO = load_skeleton("coco17")
# Shoulders and hips round the trunk; nose and shoulders for the neck and head.
TRUNK, SHOULDERS = (5, 6, 12, 11), (5, 6)


@dataclass
class Cutout:
    """A person cut out of a photo.

    RGB, soft mask (0..1), joints ``(17, 2)`` in its pixels, and which are labelled ``(17,)``.
    """

    image: np.ndarray
    mask: np.ndarray
    joints: np.ndarray
    labelled: np.ndarray


def cutouts(folder: Path, smallest: int, limit: int, seed: int) -> list[Cutout]:
    """People who are nearly whole and at least ``smallest`` pixels high."""
    data = json.loads((folder / "annotations.json").read_text())
    files = {image["id"]: image["file_name"] for image in data["images"]}
    found = []
    for person in data["annotations"]:
        joints = np.array(person.get("keypoints", [0] * 51), np.float32).reshape(17, 3)
        whole = (joints[5:, 2] > 0).sum() >= 11 and (joints[:5, 2] > 0).sum() >= 2
        if (
            not person["iscrowd"]
            and whole
            and person["bbox"][3] >= smallest
            and _alone(person, data["annotations"])
        ):
            found.append((files[person["image_id"]], person["bbox"], joints))
    order = np.random.default_rng(seed).permutation(len(found))[:limit]
    return [
        _cut(read_image(folder / "images" / Path(found[i][0]).name), *found[i][1:]) for i in order
    ]


def _alone(person: dict, everybody: list[dict]) -> bool:
    x, y, w, h = person["bbox"]
    for other in everybody:
        if other["image_id"] == person["image_id"] and other is not person:
            a, b, c, d = other["bbox"]
            if (
                min(x + w, a + c) - max(x, a) > 0.25 * w
                and min(y + h, b + d) - max(y, b) > 0.25 * h
            ):
                return False
    return True


def _cut(image: np.ndarray, bbox: list[float], joints: np.ndarray) -> Cutout:
    size = max(bbox[2:])
    mask = np.zeros(image.shape[:2], np.uint8)
    points = joints[:, :2].round().astype(int)
    labelled = joints[:, 2] > 0
    for a, b in COCO.limbs:
        if labelled[a] and labelled[b]:
            cv2.line(mask, points[a].tolist(), points[b].tolist(), 255, max(3, int(0.1 * size)))
    if labelled[list(TRUNK)].all():
        cv2.fillConvexPoly(mask, cv2.convexHull(points[list(TRUNK)]), 255)
    head = points[:5][labelled[:5]].mean(axis=0)
    cv2.circle(mask, head.round().astype(int).tolist(), max(3, int(0.075 * size)), 255, -1)
    if labelled[list(SHOULDERS)].all():
        neck = points[list(SHOULDERS)].mean(axis=0).round().astype(int)
        cv2.line(
            mask, head.round().astype(int).tolist(), neck.tolist(), 255, max(3, int(0.09 * size))
        )
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, 0.006 * size)).astype(np.float32) / 255
    ys, xs = np.nonzero(soft > 0.02)
    box = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return Cutout(image[box], soft[box], joints[:, :2] - (xs.min(), ys.min()), labelled)
