"""Whole photos with the boxes of people in them, kept as uint8 canvases in one memory-mapped file,
to train detectors.

What is not sure to be a person, nor sure to be none, is an ignored region: a detector is neither
taught to find it nor to leave it out.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, iou
from rmpe.datasets.packed import read_rgb
from rmpe.datasets.unlisted import SAME, SURE
from rmpe.detect.letterbox import letterbox
from rmpe.errors import DataError
from rmpe.files import read_json, read_names
from rmpe.runtime import sha256_of

# Part of the cache key: raise it when the stored bytes would differ for the same photos.
FORMAT = 1
# What a stored box is; unused rows of the padded arrays are NOTHING.
NOTHING = 0
PERSON = 1
IGNORED = 2
# Side in pixels up to which a box that may be a crowd is believed to be one small person.
SMALL = 40.0
# What the field ``annotation`` of a photo's entry says if only people with keypoints are listed.
PARTIAL = "labels-kp-persons-only"

Labeller = Callable[[NDArray[np.uint8]], Boxes]


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


def read_photos(
    annotations: Path, images: Path, complete: bool, without: Collection[str] = ()
) -> list[Photo]:
    """Read photos from COCO JSON.

    Args:
        annotations: COCO JSON.
        images: Folder with the image files.
        complete: Whether the photos list everybody in them; those whose entry says that they do not
            are left out.
        without: File names to leave out.

    Raises:
        DataError: If the file is not such JSON or no photo is left.
    """
    data = read_json(annotations)
    if not isinstance(data, dict) or not {"images", "annotations"} <= set(data):
        raise DataError(
            f"{annotations}: not COCO JSON: it needs the lists 'images' and 'annotations'"
        )
    rows: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in data["images"]}
    for row in data["annotations"]:
        if row["image_id"] in rows:
            rows[row["image_id"]].append(row)
    photos = [
        _photo(images / image["file_name"], complete, found)
        for image, found in zip(data["images"], rows.values(), strict=True)
        if image["file_name"] not in without
        and not (complete and image.get("annotation") == PARTIAL)
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

    A large box that may be a crowd is a person only if the teacher sees one there. Where not
    everybody is listed, the teacher's sure boxes (`SURE`) are people and its unsure ones are
    ignored.

    Args:
        photo: Annotation.
        teacher: What another detector finds in the photo, image pixels.

    Returns:
        Boxes ``(N, 4)`` xyxy image pixels and kinds ``(N,)``, PERSON or IGNORED.
    """
    matches = iou(photo.people, teacher.xyxy) >= SAME
    large = np.sqrt(Boxes(photo.people).areas) > SMALL
    doubtful = photo.maybe_crowds & large & ~matches.any(axis=1)
    boxes = [photo.people, photo.crowds]
    kinds = [np.where(doubtful, IGNORED, PERSON), np.full(len(photo.crowds), IGNORED)]
    if not photo.complete:
        new = ~matches.any(axis=0)
        boxes.append(teacher.xyxy[new])
        kinds.append(np.where(teacher.scores[new] >= SURE, PERSON, IGNORED))
    return np.concatenate(boxes), np.concatenate(kinds).astype(np.uint8)


@dataclass(frozen=True)
class PhotoSetConfig:
    """One set of photos.

    Attributes:
        annotations: COCO JSON.
        images: Folder of its images.
        complete: Whether everybody in a photo is listed; if not, the labeller finds the others.
    """

    annotations: Path
    images: Path
    complete: bool = True


@dataclass(frozen=True)
class PhotoDataConfig:
    """The photos to train a detector on.

    Attributes:
        sets: The sets, joined.
        exclude: Text files with names of images to leave out, one a line, ``#`` begins a comment.
        labeller: ONNX detector that is asked about what the annotations leave open; see `label`.
        cache: Folder for packed photos.
        side: Side of the square canvases that photos are stored on.
    """

    sets: tuple[PhotoSetConfig, ...]
    exclude: tuple[Path, ...] = ()
    labeller: Path | None = None
    cache: Path = Path("runs/cache")
    side: int = 416

    def __post_init__(self) -> None:
        if self.labeller is None and not all(one.complete for one in self.sets):
            raise ValueError(
                "a set with complete = false needs a labeller: nobody else knows the people it does not list"
            )


def open_photos(
    config: PhotoDataConfig, labeller: Labeller | None, log: Callable[[str], None]
) -> PackedPhotos:
    """Read all sets and pack their photos.

    Without a labeller, boxes that may be crowds are taken for what they are called: people.

    Raises:
        DataError: If a file cannot be read or no photo is left.
        ImageError: If an image cannot be read.
    """
    without = {name for file in config.exclude for name in read_names(file)}
    photos = []
    for one in config.sets:
        photos += read_photos(one.annotations, one.images, one.complete, without)
    if labeller is None:
        photos = [
            replace(photo, maybe_crowds=np.zeros_like(photo.maybe_crowds)) for photo in photos
        ]
    asked = sha256_of(config.labeller) if config.labeller else ""
    packed = pack_photos(photos, labeller or _sees_nobody, config.side, config.cache, asked)
    people, ignored = ((packed.kinds == kind).sum() for kind in (PERSON, IGNORED))
    log(f"{len(packed)} photos, {people} people, {ignored} ignored regions")
    return packed


def _sees_nobody(image: NDArray[np.uint8]) -> Boxes:  # noqa: ARG001
    return Boxes.empty()


def pack_photos(
    photos: list[Photo], labeller: Labeller, side: int, cache: Path, asked: str = ""
) -> PackedPhotos:
    """Store photos and their labels, or find them already stored.

    The folder's name is a hash of photos, annotations and what decides their labels, so a stale
    cache is never read.

    Args:
        photos: What to store.
        labeller: Another detector; it is asked only about photos whose annotation leaves something
            open.
        side: Side of the square canvases.
        cache: Folder of caches; these photos get a sub-folder of their own.
        asked: Says which labeller it is.

    Raises:
        ImageError: If an image cannot be read.
    """
    folder = cache / _fingerprint(photos, side, asked)
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="packing-", dir=cache))
        try:
            _write(photos, labeller, side, temporary)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    labels = np.load(folder / "labels.npz")
    canvases = np.load(folder / "canvases.npy", mmap_mode="r")
    names = tuple(photo.path.name for photo in photos)
    return PackedPhotos(names, canvases, labels["sizes"], labels["boxes"], labels["kinds"])


def _fingerprint(photos: list[Photo], side: int, asked: str) -> str:
    digest = hashlib.sha256(f"{FORMAT} {side} {SURE} {SAME} {SMALL} {asked}".encode())
    for photo in photos:
        stat = photo.path.stat()
        digest.update(
            f"{photo.path.name} {stat.st_size} {stat.st_mtime_ns} {photo.complete}".encode()
        )
        for array in (photo.people, photo.maybe_crowds, photo.crowds):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _write(photos: list[Photo], labeller: Labeller, side: int, folder: Path) -> None:
    shape = (len(photos), side, side, 3)
    canvases = np.lib.format.open_memmap(
        folder / "canvases.npy", mode="w+", dtype=np.uint8, shape=shape
    )
    sizes = np.zeros((len(photos), 2), np.float32)
    labels = []
    for index, photo in enumerate(photos):
        image = read_rgb(photo.path)
        open_questions = not photo.complete or photo.maybe_crowds.any()
        boxes, kinds = label(photo, labeller(image) if open_questions else Boxes.empty())
        canvases[index], scale = letterbox(image, (side, side))
        sizes[index] = np.array(image.shape[:2], np.float32) * np.float32(scale)
        labels.append((boxes * np.float32(scale), kinds))
    most = max(1, *(len(kinds) for _, kinds in labels))
    all_boxes = np.zeros((len(photos), most, 4), np.float32)
    all_kinds = np.full((len(photos), most), NOTHING, np.uint8)
    for index, (boxes, kinds) in enumerate(labels):
        all_boxes[index, : len(boxes)] = boxes
        all_kinds[index, : len(kinds)] = kinds
    canvases.flush()
    np.savez(folder / "labels.npz", sizes=sizes, boxes=all_boxes, kinds=all_kinds)
