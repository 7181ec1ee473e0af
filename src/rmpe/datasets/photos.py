"""Whole photos with the boxes of people in them, kept as uint8 canvases in one memory-mapped file, to train detectors.

What is not sure to be a person, nor sure to be none, is an ignored region: a detector is neither taught to find it nor
to leave it out.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, iou
from rmpe.datasets.packed import read_rgb
from rmpe.detect.letterbox import letterbox
from rmpe.errors import DataError
from rmpe.files import read_json

# What a stored box is; unused rows of the padded arrays are NOTHING.
NOTHING, PERSON, IGNORED = 0, 1, 2
# A teacher's box this sure is a person where the annotations do not list everybody; a less sure one is ignored.
SURE = 0.35
# IoU from which a teacher's box and an annotated one are the same person.
SAME = 0.5
# Side in pixels up to which a box that may be a crowd is believed to be one small person.
SMALL = 40.0
# What the field ``annotation`` of a photo's entry says if only people with keypoints are listed.
PARTIAL = "labels-kp-persons-only"

Teacher = Callable[[NDArray[np.uint8]], Boxes]


@dataclass(frozen=True, eq=False)
class PackedPhotos:
    """Photos as square canvases, each at the top left; ``M`` is the most boxes a photo has.

    Attributes:
        names: File names, ``P`` of them.
        canvases: ``(P, S, S, 3)`` uint8 RGB, memory-mapped, grey where the photo ends.
        sizes: ``(P, 2)`` float32, height and width of the photo on its canvas.
        boxes: ``(P, M, 4)`` float32 xyxy, canvas pixels.
        kinds: ``(P, M)`` uint8: NOTHING, PERSON or IGNORED.
    """

    names: tuple[str, ...]
    canvases: NDArray[np.uint8]
    sizes: NDArray[np.float32]
    boxes: NDArray[np.float32]
    kinds: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo's annotation, image pixels.

    Attributes:
        path: The file.
        complete: Whether everybody in it is listed.
        people: ``(N, 4)`` float32 xyxy.
        maybe_crowds: ``(N,)`` bool, boxes that may hold a crowd: the annotation does not say.
        crowds: ``(C, 4)`` float32 xyxy, regions known to hold crowds.
    """

    path: Path
    complete: bool
    people: NDArray[np.float32]
    maybe_crowds: NDArray[np.bool_]
    crowds: NDArray[np.float32]


def read_photos(annotations: Path, images: Path, complete: bool, without: Collection[str] = ()) -> list[Photo]:
    """Read photos from COCO JSON.

    Args:
        annotations: COCO JSON.
        images: Folder with the image files.
        complete: Whether the photos list everybody in them; those whose entry says that they do not are left out.
        without: File names to leave out.

    Raises:
        DataError: If the file is not such JSON or no photo is left.
    """
    data = read_json(annotations)
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise DataError(f"{annotations}: not COCO JSON: it needs the lists 'images' and 'annotations'")
    rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in data["images"]}
    for row in data["annotations"]:
        if row["image_id"] in rows:
            rows[row["image_id"]].append(row)
    photos = [
        _photo(images / image["file_name"], complete, found)
        for image, found in zip(data["images"], rows.values(), strict=True)
        if image["file_name"] not in without and not (complete and image.get("annotation") == PARTIAL)
    ]
    if not photos:
        raise DataError(f"{annotations}: no photos to train from")
    return photos


def _photo(path: Path, complete: bool, rows: list[dict[str, Any]]) -> Photo:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    maybe = np.array([bool(row.get("iscrowd_unknown", False)) for row in rows], bool)
    return Photo(path, complete, boxes[~crowd], maybe[~crowd], boxes[crowd])


def label(photo: Photo, teacher: Boxes) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Boxes to learn from and what each is.

    A large box that may be a crowd is a person only if the teacher sees one there. Where not everybody is listed, the
    teacher's sure boxes are people and its unsure ones are ignored.

    Args:
        photo: Annotation.
        teacher: What another detector finds in the photo, image pixels.

    Returns:
        Boxes ``(N, 4)`` xyxy image pixels and kinds ``(N,)``, PERSON or IGNORED.
    """
    matches = iou(photo.people, teacher.xyxy) >= SAME
    large = np.sqrt(Boxes(photo.people).areas) > SMALL
    doubtful = photo.maybe_crowds & large & ~matches.any(axis=1)
    boxes, kinds = (
        [photo.people, photo.crowds],
        [np.where(doubtful, IGNORED, PERSON), np.full(len(photo.crowds), IGNORED)],
    )
    if not photo.complete:
        new = ~matches.any(axis=0)
        boxes.append(teacher.xyxy[new])
        kinds.append(np.where(teacher.scores[new] >= SURE, PERSON, IGNORED))
    return np.concatenate(boxes), np.concatenate(kinds).astype(np.uint8)


def pack_photos(photos: list[Photo], teacher: Teacher, side: int, folder: Path) -> PackedPhotos:
    """Store photos and their labels in ``folder``, or read what is stored there for the same photos.

    Args:
        photos: What to store.
        teacher: Another detector; it is asked only about photos whose annotation leaves something open.
        side: Side of the square canvases.
        folder: Where to.

    Raises:
        ImageError: If an image cannot be read.
    """
    about = folder / "about.json"
    names = [photo.path.name for photo in photos]
    if not about.is_file() or json.loads(about.read_text("utf-8")) != [side, names]:
        folder.mkdir(parents=True, exist_ok=True)
        about.unlink(missing_ok=True)
        _write(photos, teacher, side, folder)
        about.write_text(json.dumps([side, names]), "utf-8")
    labels = np.load(folder / "labels.npz")
    canvases = np.load(folder / "canvases.npy", mmap_mode="r")
    return PackedPhotos(tuple(names), canvases, labels["sizes"], labels["boxes"], labels["kinds"])


def _write(photos: list[Photo], teacher: Teacher, side: int, folder: Path) -> None:
    shape = (len(photos), side, side, 3)
    canvases = np.lib.format.open_memmap(folder / "canvases.npy", mode="w+", dtype=np.uint8, shape=shape)
    sizes, labels = np.zeros((len(photos), 2), np.float32), []
    for index, photo in enumerate(photos):
        image = read_rgb(photo.path)
        open_questions = not photo.complete or photo.maybe_crowds.any()
        boxes, kinds = label(photo, teacher(image) if open_questions else Boxes.empty())
        canvases[index], scale = letterbox(image, (side, side))
        sizes[index] = np.array(image.shape[:2], np.float32) * np.float32(scale)
        labels.append((boxes * np.float32(scale), kinds))
    most = max(1, *(len(kinds) for _, kinds in labels))
    all_boxes, all_kinds = np.zeros((len(photos), most, 4), np.float32), np.full((len(photos), most), NOTHING, np.uint8)
    for index, (boxes, kinds) in enumerate(labels):
        all_boxes[index, : len(boxes)], all_kinds[index, : len(kinds)] = boxes, kinds
    canvases.flush()
    np.savez(folder / "labels.npz", sizes=sizes, boxes=all_boxes, kinds=all_kinds)
