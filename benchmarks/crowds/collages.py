"""Make crowds whose joints are known: people of some photos pasted over people of others.

Two or three people of the dev photos of coco-train, on which nothing is trained, overlap with an
IoU of 0.3 to 0.7. A person is cut out along ellipses around the limbs, with a soft edge, because
the photos have no masks: the edges can be seen, and joints that nobody labelled are cut off. Joints
behind a pasted person keep their labels, as hidden ones. The same seed makes the same photos.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.record import ROOT
from rmpe.affine import apply
from rmpe.boxes import Boxes, iou
from rmpe.datasets.coco import read_coco
from rmpe.datasets.packed import read_rgb
from rmpe.datasets.persons import ABSENT, HIDDEN, PersonSet
from rmpe.files import read_names
from rmpe.skeletons import load_skeleton

SKELETON = load_skeleton("coco17")
DEV = ROOT / "configs" / "dev.txt"
OUT = ROOT / "runs" / "crowds"
IOUS = (0.3, 0.7)
JOINTS = 10  # least labelled joints of a person
HEIGHT = 90  # least height of a box, pixels
SIZES = (0.8, 1.25)  # of the pasted person, relative to the other
TILT = np.deg2rad(30)  # people stand beside each other rather than above
ROOM = 1.4  # the photo around the group, in shares of its box
TRIPLES = 0.3  # share of groups of three
TRIES = 400
TORSO = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
# Shares of the torso's length.
LIMB = 0.34
HEAD = 0.42
EDGE = 0.05


@dataclass(frozen=True, eq=False)
class Figure:
    """One person, in a photo.

    Attributes:
        photo: RGB uint8 ``(H, W, 3)``.
        box: ``(4,)`` xyxy.
        points: ``(17, 2)``, NaN where not labelled.
        visibility: ``(17,)``.
    """

    photo: np.ndarray
    box: np.ndarray
    points: np.ndarray
    visibility: np.ndarray

    def mirrored(self) -> "Figure":
        """The same person, left and right in the other's place."""
        width = self.photo.shape[1]
        x1, y1, x2, y2 = self.box
        order = SKELETON.flip_order
        points = self.points[order].copy()
        points[:, 0] = width - 1 - points[:, 0]
        return Figure(
            np.ascontiguousarray(self.photo[:, ::-1]),
            np.array([width - x2, y1, width - x1, y2]),
            points,
            self.visibility[order],
        )

    def mask(self) -> np.ndarray:
        """How much of each pixel is the person, float32 in [0, 1]."""
        at = {name: self.points[joint] for joint, name in enumerate(SKELETON.joints)}
        torso = np.array([at[name] for name in TORSO])
        length = float(np.linalg.norm((torso[0] + torso[1] - torso[2] - torso[3]) / 2))
        mask = np.zeros(self.photo.shape[:2], np.uint8)
        width = max(2, round(LIMB * length))
        cv2.fillPoly(mask, [torso.round().astype(np.int32)], 255)
        cv2.polylines(mask, [torso.round().astype(np.int32)], True, 255, width)
        for limb in SKELETON.limbs:
            start, end = self.points[list(limb)]
            if np.isfinite([start, end]).all():
                middle = (start + end) / 2
                angle = float(np.rad2deg(np.arctan2(*(end - start)[::-1])))
                axes = (float(np.linalg.norm(end - start)) + width, float(width))
                cv2.ellipse(mask, (middle.tolist(), axes, angle), 255, -1)
        face = np.array([at[name] for name in FACE])
        face = face[np.isfinite(face).all(axis=1)]
        if len(face):
            center = face.mean(axis=0).round().astype(int).tolist()
            cv2.circle(mask, center, max(2, round(HEAD * length)), 255, -1)
        blurred = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(1.0, EDGE * length))
        return np.asarray(blurred, np.float32)


class Pool:
    """People who stand alone in their photos.

    Args:
        people: All people of the photos.
    """

    def __init__(self, people: PersonSet) -> None:
        self.people = people
        boxes = people.boxes
        torso = [SKELETON.joints.index(name) for name in TORSO]
        self.alone = [
            person
            for person in range(len(people))
            if (people.visibility[person] > ABSENT).sum() >= JOINTS
            and (people.visibility[person, torso] > ABSENT).all()
            and boxes[person, 3] - boxes[person, 1] >= HEIGHT
            and not _touching(boxes[person], self.others(person))
        ]

    def others(self, person: int) -> np.ndarray:
        """Boxes of the others and of crowd regions in the same photo."""
        people = self.people
        here = people.image_index == people.image_index[person]
        here[person] = False
        crowds = people.crowds[people.crowd_images == people.image_index[person]]
        return np.concatenate([people.boxes[here], crowds])

    def figure(self, person: int) -> Figure:
        """The person in the photo."""
        people = self.people
        return Figure(
            read_rgb(people.images[people.image_index[person]]),
            people.boxes[person].astype(np.float64),
            people.keypoints[person].astype(np.float64),
            people.visibility[person].copy(),
        )


def _touching(box: np.ndarray, others: np.ndarray) -> bool:
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    return bool((high > low).all(axis=1).any())


def placed(
    box: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> tuple[float, np.ndarray] | None:
    """Scale and shift that put ``box`` beside ``other`` with an IoU drawn from `IOUS`."""
    side = np.sqrt(np.prod(other[2:] - other[:2]) / np.prod(box[2:] - box[:2]))
    scale = side * np.exp(rng.uniform(*np.log(SIZES)))
    wanted = rng.uniform(*IOUS)
    angle = rng.uniform(-TILT, TILT) + np.pi * rng.integers(2)
    direction = np.array([np.cos(angle), np.sin(angle)])
    half = scale * (box[2:] - box[:2]) / 2
    center = (other[:2] + other[2:]) / 2

    def overlap(distance: float) -> float:
        middle = center + distance * direction
        moved = np.concatenate([middle - half, middle + half]).astype(np.float32)
        return float(iou(moved[None], other[None].astype(np.float32))[0, 0])

    if overlap(0) < wanted:
        return None
    near, far = 0.0, float(np.linalg.norm(other[2:] - other[:2]) + np.linalg.norm(2 * half))
    for _ in range(30):
        between = (near + far) / 2
        near, far = (between, far) if overlap(between) > wanted else (near, between)
    return scale, center + near * direction - scale * (box[:2] + box[2:]) / 2


def collage(pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, list[Figure]] | None:
    """One photo with its people, or nothing if the draw does not fit."""
    count = 3 if rng.random() < TRIPLES else 2
    chosen = rng.choice(len(pool.alone), count, replace=False)
    first = pool.alone[chosen[0]]
    base = pool.figure(first)
    photo = base.photo.copy()
    height, width = photo.shape[:2]
    group = [base]
    for index in chosen[1:]:
        figure = pool.figure(pool.alone[index])
        if rng.random() < 0.5:
            figure = figure.mirrored()
        beside = group[rng.integers(len(group))].box
        found = placed(figure.box, beside, rng)
        if found is None:
            return None
        scale, shift = found
        # The map of pixel centres; boxes are edges, half a pixel away.
        to_photo = np.array(
            [[scale, 0, shift[0] + (scale - 1) / 2], [0, scale, shift[1] + (scale - 1) / 2]]
        )
        box = scale * figure.box + np.tile(shift, 2)
        if (box[:2] < 0).any() or box[2] > width or box[3] > height:
            return None
        overlaps = iou(
            box[None].astype(np.float32), np.stack([one.box for one in group]).astype(np.float32)
        )
        if overlaps.max() > IOUS[1] + 1e-3:
            return None
        cover = cv2.warpAffine(figure.mask(), to_photo, (width, height))
        pixels = cv2.warpAffine(figure.photo, to_photo, (width, height))
        inside = cv2.warpAffine(
            np.ones(figure.photo.shape[:2], np.float32), to_photo, (width, height)
        )
        cover = (cover * (inside > 0.999))[..., None]
        photo = (cover * pixels + (1 - cover) * photo).round().astype(np.uint8)
        group = [_behind(one, cover[..., 0]) for one in group]
        moved = replace(figure, photo=photo, box=box, points=apply(to_photo, figure.points))
        group.append(moved)
    boxes = np.stack([one.box for one in group])
    extent = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    region = Boxes(extent[None]).grow(ROOM).clip((height, width)).xyxy[0].round().astype(int)
    if _touching(region.astype(np.float32), pool.others(first)):
        return None
    x1, y1, x2, y2 = region
    start = np.array([x1, y1], np.float64)
    group = [
        replace(one, box=one.box - np.tile(start, 2), points=one.points - start) for one in group
    ]
    return photo[y1:y2, x1:x2], group


def _behind(figure: Figure, cover: np.ndarray) -> Figure:
    """The figure with the joints that are covered marked as hidden."""
    known = figure.visibility > ABSENT
    places = np.nan_to_num(figure.points).round().astype(int)
    x = places[:, 0].clip(0, cover.shape[1] - 1)
    y = places[:, 1].clip(0, cover.shape[0] - 1)
    hidden = known & (cover[y, x] > 0.5)
    return replace(figure, visibility=np.where(hidden, HIDDEN, figure.visibility))


def annotation(figure: Figure, number: int, image_id: int) -> dict:
    """The person as COCO annotates one."""
    known = figure.visibility > ABSENT
    points = np.where(known[:, None], np.nan_to_num(figure.points), 0)
    keypoints = np.concatenate([points, figure.visibility[:, None]], axis=1)
    sides = figure.box[2:] - figure.box[:2]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [*figure.box[:2].round(2).tolist(), *sides.round(2).tolist()],
        "area": float(0.53 * sides.prod()),
        "num_keypoints": int(known.sum()),
        "keypoints": keypoints.round(2).ravel().tolist(),
    }


def make(pool: Pool, out: Path, count: int, seed: int) -> Path:
    """Write ``count`` photos and their annotations.

    Returns:
        The annotation file.
    """
    images = out / "images"
    images.mkdir(parents=True, exist_ok=True)
    category = {"id": 1, "name": "person", "keypoints": list(SKELETON.joints)}
    data: dict[str, list] = {"images": [], "annotations": [], "categories": [category]}
    for number in range(1, count + 1):
        rng = np.random.default_rng([seed, number])
        made = next(filter(None, (collage(pool, rng) for _ in range(TRIES))), None)
        if made is None:
            raise SystemExit(f"photo {number}: no draw of {TRIES} fits")
        photo, group = made
        name = f"{number:06d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
        cv2.imwrite(str(images / name), np.ascontiguousarray(photo[..., ::-1]), quality)
        height, width = photo.shape[:2]
        data["images"].append({"id": number, "file_name": name, "height": height, "width": width})
        data["annotations"] += [
            annotation(figure, 10 * number + place, number) for place, figure in enumerate(group)
        ]
    file = out / "annotations.json"
    file.write_text(json.dumps(data), "utf-8")
    return file


def lonely_people(data: Path) -> Pool:
    """Those of the dev photos of coco-train."""
    source = folder(data, "coco-train")
    people = read_coco(source / "annotations.json", source / "images", SKELETON)
    names = read_names(DEV)
    rest = {path.name for path in people.images} - set(names)
    return Pool(people.without_images(rest))


@benchmark("data")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True)
@click.option("--count", default=2000, show_default=True, help="How many photos.")
@click.option("--seed", default=0, show_default=True)
def main(data, out, count, seed):
    pool = lonely_people(data)
    file = make(pool, out, count, seed)
    print(f"{count} photos of {len(pool.alone)} people: {file}")


if __name__ == "__main__":
    main()
