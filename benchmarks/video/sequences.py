"""Videos with known truth, made from photos.

People cut out by their own joints walk over other photos. They cross each other, pass behind
pillars, leave and come back; the camera pans. Everything follows from a seed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rmpe.media.images import read_image
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton

COCO = load_skeleton("coco17")
# Shoulders and hips round the trunk; nose and shoulders for the neck and head.
TRUNK, SHOULDERS = (5, 6, 12, 11), (5, 6)
# A person of whose joints less than this share can be seen is not there.
PRESENT = 0.35


@dataclass
class Cutout:
    """A person cut out of a photo.

    RGB, soft mask (0..1), joints ``(17, 2)`` in its pixels, and which are labelled ``(17,)``.
    """

    image: np.ndarray
    mask: np.ndarray
    joints: np.ndarray
    labelled: np.ndarray


@dataclass
class Frame:
    """One frame with the truth: only people who can be seen; NaN joints cannot be."""

    image: np.ndarray
    truth: Poses


@dataclass
class Actor:
    """How one cutout moves, all in canvas pixels and seconds."""

    cutout: Cutout
    height: float
    ground: float
    start: float
    speed: float
    turn: float  # seconds after which it walks back; inf = never
    step: float  # steps a second

    def image_to_canvas(self, seconds: float, pan: float) -> np.ndarray:
        scale = self.height / self.cutout.image.shape[0]
        walked = seconds if seconds < self.turn else 2 * self.turn - seconds
        sway = 0.02 * np.sin(2 * np.pi * self.step * seconds)
        x = self.start + self.speed * walked - pan
        y = self.ground - self.height * (1 - 0.01 * np.abs(np.sin(2 * np.pi * self.step * seconds)))
        return np.array([[scale, scale * sway, x - self.height * sway], [0, scale, y]])


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


def empty_photos(folder: Path, limit: int) -> list[np.ndarray]:
    """Photos without anybody, as backgrounds."""
    data = json.loads((folder / "annotations.json").read_text())
    peopled = {person["image_id"] for person in data["annotations"]}
    names = [
        image["file_name"]
        for image in data["images"]
        if image["id"] not in peopled and image["width"] >= 400
    ]
    return [read_image(folder / "images" / Path(name).name) for name in names[:limit]]


def sequence(
    people: list[Cutout],
    backgrounds: list[np.ndarray],
    *,
    seed: int,
    actors: int = 6,
    fps: float = 10,
    seconds: float = 6,
    size: tuple[int, int] = (720, 1280),
) -> Iterator[Frame]:
    """One video of ``seconds`` at ``fps``; ``size`` is (height, width)."""
    rng = np.random.default_rng(seed)
    height, width = size
    pan_speed = rng.choice([0, 0, -60, 60])
    back = backgrounds[rng.integers(len(backgrounds))]
    wide = cv2.resize(back, (width + 400, height), interpolation=cv2.INTER_CUBIC)
    cast = [_actor(people[i], rng, size, seconds) for i in rng.permutation(len(people))[:actors]]
    cast.sort(key=lambda actor: actor.ground)
    pillars = [
        (
            rng.uniform(0.1, 0.9) * width,
            rng.uniform(0.03, 0.07) * width,
            backgrounds[rng.integers(len(backgrounds))],
        )
        for _ in range(2)
    ]
    for index in range(round(seconds * fps)):
        now = index / fps
        pan = pan_speed * now
        offset = int(np.clip(200 + pan, 0, 400))
        image = wide[:, offset : offset + width].astype(np.float32)
        seen = [_paint(image, actor, actor.image_to_canvas(now, pan)) for actor in cast]
        owner = np.full(size, -1, np.int16)
        for number, (part, mask, _) in enumerate(seen):
            owner[part][mask > 0.5] = number
        for x, thick, texture in pillars:
            left, right = np.clip([x - pan - thick / 2, x - pan + thick / 2], 0, width).astype(int)
            if right > left:
                image[:, left:right] = cv2.resize(texture[:, :40], (int(thick) + 1, height))[
                    :, : right - left
                ]
                owner[:, left:right] = -2
        image += 2 * rng.standard_normal((height, width, 1), np.float32)
        yield Frame(
            np.clip(image, 0, 255, out=image).astype(np.uint8), _truth(seen, owner, cast, size)
        )


def _actor(
    cutout: Cutout, rng: np.random.Generator, size: tuple[int, int], seconds: float
) -> Actor:
    height, width = size
    tall = float(rng.uniform(0.3, 0.55) * height)
    direction = rng.choice([-1, 1])
    speed = direction * tall * rng.uniform(0.3, 0.9)
    begin = (
        rng.uniform(-0.1, 1.0) * width
        if rng.random() < 0.7
        else (-0.5 * tall if direction > 0 else width)
    )
    turn = rng.uniform(0.3, 0.6) * seconds if rng.random() < 0.4 else np.inf
    ground = 0.55 * height + (tall / height - 0.3) / 0.25 * 0.4 * height
    return Actor(
        cutout,
        tall,
        float(ground),
        float(begin),
        float(speed),
        float(turn),
        float(rng.uniform(0.8, 1.5)),
    )


def _paint(
    image: np.ndarray, actor: Actor, image_to_canvas: np.ndarray
) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Paint the actor: the part of the canvas painted, the mask in it, the joints in the canvas."""
    height, width = image.shape[:2]
    tall, wide = actor.cutout.mask.shape
    corners = np.array([(0, 0, 1), (wide, 0, 1), (0, tall, 1), (wide, tall, 1)]) @ image_to_canvas.T
    x1, y1 = np.clip(np.floor(corners.min(axis=0)) - 1, 0, (width, height)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int).tolist()
    part, joints = (
        np.s_[y1:y2, x1:x2],
        actor.cutout.joints @ image_to_canvas[:, :2].T + image_to_canvas[:, 2],
    )
    if x1 >= x2 or y1 >= y2:
        return part, np.zeros((y2 - y1, x2 - x1), np.float32), joints
    to_part, size = image_to_canvas - [[0, 0, x1], [0, 0, y1]], (x2 - x1, y2 - y1)
    flags = cv2.INTER_AREA if to_part[0, 0] < 1 else cv2.INTER_LINEAR
    mask = cv2.warpAffine(actor.cutout.mask, to_part, size, flags=cv2.INTER_LINEAR)
    color = cv2.warpAffine(actor.cutout.image, to_part, size, flags=flags)
    image[part] += mask[..., None] * (color - image[part])
    return part, mask, joints


def _truth(seen: list, owner: np.ndarray, cast: list[Actor], size: tuple[int, int]) -> Poses:
    height, width = size
    points, boxes, ids = [], [], []
    for number, ((part, mask, joints), actor) in enumerate(zip(seen, cast, strict=True)):
        at = joints.round().astype(int)
        inside = ((at >= 0) & (at < (width, height))).all(axis=1)
        visible = inside & actor.cutout.labelled
        visible[visible] = owner[at[visible, 1], at[visible, 0]] == number
        if visible.sum() < PRESENT * actor.cutout.labelled.sum():
            continue
        rows, columns = np.nonzero(mask > 0.5)
        points.append(np.where(visible[:, None], joints, np.nan))
        x, y = part[1].start, part[0].start
        boxes.append([x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1])
        ids.append(number)
    if not ids:
        return Poses.empty(COCO)
    scores = np.isfinite(np.array(points)).all(axis=2).astype(np.float32)
    return Poses(points, scores, np.ones(len(ids)), boxes, COCO, ids)


def disturb(truth: Poses, rng: np.random.Generator, size: tuple[int, int]) -> Poses:
    """The truth as an estimator might give it: jitter, misses, guessed joints, false people."""
    kept = truth[np.flatnonzero(rng.random(len(truth)) > 0.06)]
    side = (kept.boxes[:, 2:] - kept.boxes[:, :2]).max(axis=1, initial=1)[:, None, None]
    hidden = ~np.isfinite(kept.keypoints).all(axis=2)
    center = (kept.boxes[:, None, :2] + kept.boxes[:, None, 2:]) / 2
    guess = center + rng.normal(0, 0.2, kept.keypoints.shape) * side
    points = np.where(
        hidden[..., None], guess, kept.keypoints + rng.normal(0, 0.015, kept.keypoints.shape) * side
    )
    scores = np.where(
        hidden, rng.uniform(0.05, 0.3, hidden.shape), rng.uniform(0.6, 0.95, hidden.shape)
    )
    jitter = rng.normal(0, 0.05, kept.boxes.shape) * side[..., 0]
    people = Poses(points, scores, scores.mean(axis=1), kept.boxes + jitter, kept.skeleton)
    if rng.random() < 0.85:
        return people
    height, width = size
    x, y, tall = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(100, 300)
    false = rng.normal(0, 0.2, (1, 17, 2)) * tall + (x, y)
    box = [[x - tall / 4, y - tall / 2, x + tall / 4, y + tall / 2]]
    return Poses.merge(
        [people, Poses(false, rng.uniform(0.1, 0.6, (1, 17)), [0.35], box, kept.skeleton)]
    )
