"""Videos with known truth, made from photos.

People cut out by their own joints walk over other photos. They cross each other, pass behind
pillars, leave and come back; the camera pans. Everything follows from a seed. ``stiff`` people move
as boards; ``articulated`` ones swing their limbs, while the camera zooms and whatever moves blurs.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.video.articulation import Walker
from benchmarks.video.cutouts import COCO, Cutout
from rmpe.affine import Matrix, apply, compose
from rmpe.media.images import read_image
from rmpe.poses import Poses

Motion = Literal["stiff", "articulated"]
# A person of whose joints less than this share can be seen is not there.
PRESENT = 0.35
# How far the camera zooms in or out in a clip with articulated people.
ZOOM = 1.6
# The shutter is open for this share of a frame, of which so many instants are averaged.
SHUTTER, INSTANTS = 0.5, 5


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
    walker: Walker | None = None  # None = a stiff board

    def image_to_canvas(self, seconds: float, pan: float) -> np.ndarray:
        scale = self.height / self.cutout.image.shape[0]
        walked = seconds if seconds < self.turn else 2 * self.turn - seconds
        sway = 0.02 * np.sin(2 * np.pi * self.step * seconds)
        x = self.start + self.speed * walked - pan
        y = self.ground - self.height * (1 - 0.01 * np.abs(np.sin(2 * np.pi * self.step * seconds)))
        return np.array([[scale, scale * sway, x - self.height * sway], [0, scale, y]])

    def pieces(self, seconds: float) -> list[tuple[Cutout, Matrix]]:
        """What to paint, from back to front, with maps piece_to_image."""
        return self.walker.pieces(seconds) if self.walker else [(self.cutout, np.eye(2, 3))]

    def joints(self, seconds: float) -> np.ndarray:
        """Joints ``(17, 2)`` in pixels of the cutout."""
        return self.walker.joints(seconds) if self.walker else self.cutout.joints


@dataclass
class Pillar:
    """What hides people: a strip of a photo, from top to bottom."""

    x: float
    thick: float
    texture: np.ndarray


@dataclass
class Scene:
    """All that moves, and the camera; everything in canvas pixels and seconds.

    Attributes:
        wide: The background, 400 pixels wider than the canvas.
        cast: The people, the farthest first.
        pillars: What stands before them.
        pan: Pixels a second.
        size: (height, width) of the canvas.
        zoom: Factors at the beginning and end.
        seconds: How long it lasts.
    """

    wide: np.ndarray
    cast: list[Actor]
    pillars: list[Pillar]
    pan: float
    size: tuple[int, int]
    zoom: tuple[float, float]
    seconds: float

    def paint(self, now: float) -> tuple[np.ndarray, list, np.ndarray]:
        """One instant: float32 image, what was painted of each actor, and whose each pixel is."""
        height, width = self.size
        pan = self.pan * now
        camera = self.camera(now)
        image = self._background(pan, camera)
        seen = [_paint_actor(image, actor, now, pan, camera) for actor in self.cast]
        owner = np.full(self.size, -1, np.int16)
        for number, (part, mask, _) in enumerate(seen):
            owner[part][mask > 0.5] = number
        for pillar in self.pillars:
            edges = np.array([pillar.x - pan - pillar.thick / 2, pillar.x - pan + pillar.thick / 2])
            thick = pillar.thick
            if camera is not None:
                edges = camera[0, 0] * edges + camera[0, 2]
                thick *= camera[0, 0]
            left, right = np.clip(edges, 0, width).astype(int)
            if right > left:
                image[:, left:right] = cv2.resize(pillar.texture[:, :40], (int(thick) + 1, height))[
                    :, : right - left
                ]
                owner[:, left:right] = -2
        return image, seen, owner

    def camera(self, now: float) -> Matrix | None:
        """The zoom towards the centre as a map of the canvas; None = it does not zoom."""
        first, last = self.zoom
        if first == last == 1:
            return None
        factor = first * (last / first) ** (now / self.seconds)
        center = np.array(self.size[::-1]) / 2
        return np.column_stack([factor * np.eye(2), (1 - factor) * center])

    def _background(self, pan: float, camera: Matrix | None) -> np.ndarray:
        height, width = self.size
        if camera is None:
            offset = int(np.clip(200 + pan, 0, 400))
            return self.wide[:, offset : offset + width].astype(np.float32)
        wide_to_canvas = np.array([[1, 0, -np.clip(200 + pan, 0, 400)], [0, 1, 0]], np.float64)
        there = compose(camera, wide_to_canvas)
        return cv2.warpAffine(
            self.wide, there, (width, height), borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)


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
    motion: Motion = "stiff",
) -> Iterator[Frame]:
    """One video of ``seconds`` at ``fps``; ``size`` is (height, width).

    The same seed gives the same people on the same ways, whatever their ``motion``.
    """
    rng = np.random.default_rng(seed)
    scene = _scene(people, backgrounds, rng, actors, seconds, size)
    if motion == "articulated":
        _articulate(scene, np.random.default_rng([seed, 1]))
    for index in range(round(seconds * fps)):
        now = index / fps
        image, seen, owner = scene.paint(now)
        if motion == "articulated":
            image = _exposed(scene, now, image, SHUTTER / fps)
        image += 2 * rng.standard_normal((*size, 1), np.float32)
        yield Frame(
            np.clip(image, 0, 255, out=image).astype(np.uint8),
            _truth(seen, owner, scene.cast, size),
        )


def _scene(
    people: list[Cutout],
    backgrounds: list[np.ndarray],
    rng: np.random.Generator,
    actors: int,
    seconds: float,
    size: tuple[int, int],
) -> Scene:
    height, width = size
    pan_speed = rng.choice([0, 0, -60, 60])
    back = backgrounds[rng.integers(len(backgrounds))]
    wide = cv2.resize(back, (width + 400, height), interpolation=cv2.INTER_CUBIC)
    cast = [_actor(people[i], rng, size, seconds) for i in rng.permutation(len(people))[:actors]]
    cast.sort(key=lambda actor: actor.ground)
    pillars = [
        Pillar(
            rng.uniform(0.1, 0.9) * width,
            rng.uniform(0.03, 0.07) * width,
            backgrounds[rng.integers(len(backgrounds))],
        )
        for _ in range(2)
    ]
    return Scene(wide, cast, pillars, pan_speed, size, (1.0, 1.0), seconds)


def _articulate(scene: Scene, rng: np.random.Generator) -> None:
    """Let everybody swing their limbs, and the camera zoom in or out."""
    for actor in scene.cast:
        actor.walker = Walker(actor.cutout, actor.step / 2, rng)
    scene.zoom = (1.0, ZOOM) if rng.random() < 0.5 else (ZOOM, 1.0)


def _exposed(scene: Scene, now: float, middle: np.ndarray, shutter: float) -> np.ndarray:
    """The mean of the instants in which the shutter is open; ``middle`` is that of ``now``."""
    total = middle.copy()
    for number in range(INSTANTS):
        away = (number - (INSTANTS - 1) / 2) / INSTANTS
        if away:
            total += scene.paint(now + away * shutter)[0]
    return total / np.float32(INSTANTS)


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


def _paint_actor(
    image: np.ndarray, actor: Actor, now: float, pan: float, camera: Matrix | None
) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Paint the actor: the part of the canvas painted, the mask in it, the joints in the canvas."""
    there = actor.image_to_canvas(now, pan)
    if camera is not None:
        there = compose(camera, there)
    painted = [
        _paint(image, piece, compose(there, piece_to_image))
        for piece, piece_to_image in actor.pieces(now)
    ]
    joints = apply(there, actor.joints(now))
    if len(painted) == 1:
        return *painted[0], joints
    rows, columns = ([part[axis] for part, _ in painted] for axis in (0, 1))
    top, left = (min(each.start for each in some) for some in (rows, columns))
    bottom, right = (max(each.stop for each in some) for some in (rows, columns))
    whole = np.zeros((bottom - top, right - left), np.float32)
    for (y, x), mask in painted:
        here = whole[y.start - top : y.stop - top, x.start - left : x.stop - left]
        np.maximum(here, mask, out=here)
    return np.s_[top:bottom, left:right], whole, joints


def _paint(image: np.ndarray, cutout: Cutout, to_canvas: Matrix) -> tuple[tuple, np.ndarray]:
    """Paint a cutout: the part of the canvas painted, and the mask in it."""
    height, width = image.shape[:2]
    tall, wide = cutout.mask.shape
    corners = np.array([(0, 0, 1), (wide, 0, 1), (0, tall, 1), (wide, tall, 1)]) @ to_canvas.T
    x1, y1 = np.clip(np.floor(corners.min(axis=0)) - 1, 0, (width, height)).astype(int).tolist()
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, (width, height)).astype(int).tolist()
    part = np.s_[y1:y2, x1:x2]
    if x1 >= x2 or y1 >= y2:
        return part, np.zeros((y2 - y1, x2 - x1), np.float32)
    to_part, size = to_canvas - [[0, 0, x1], [0, 0, y1]], (x2 - x1, y2 - y1)
    flags = cv2.INTER_AREA if to_part[0, 0] < 1 else cv2.INTER_LINEAR
    mask = cv2.warpAffine(cutout.mask, to_part, size, flags=cv2.INTER_LINEAR)
    color = cv2.warpAffine(cutout.image, to_part, size, flags=flags)
    image[part] += mask[..., None] * (color - image[part])
    return part, mask


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
