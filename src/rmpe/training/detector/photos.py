"""Photos with boxes of people for detector training, stored as uint8 in a memory-mapped file.

A region that may or may not contain a person is ignored: it counts neither as a person nor as
background.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.coco import CocoPerson, read_coco_file, require_names
from rmpe.annotations.image_names import ImageFolder, parts_of
from rmpe.boxes import Boxes, iou
from rmpe.datasets.packed import read_rgb, settle
from rmpe.datasets.unlisted import SAME, SURE
from rmpe.detect.letterbox import letterbox
from rmpe.errors import DataError, ImageError
from rmpe.files import is_file, make_folder, read_names
from rmpe.runtime import sha256_of

# Part of the cache key; increase it when the stored bytes change for the same photos.
FORMAT = 1
# Kinds of stored boxes; unused rows of the padded arrays are NOTHING.
NOTHING = 0
PERSON = 1
IGNORED = 2
# Possible crowds up to this side in pixels are taken as one small person.
SMALL = 40.0
# Value of the field ``annotation`` of photos in which only people with keypoints are listed.
PARTIAL = "labels-kp-persons-only"

Labeller = Callable[[NDArray[np.uint8]], Boxes]


@dataclass(frozen=True, eq=False)
class PackedPhotos:
    """P photos on square canvases, at the top left; ``M`` is the largest number of boxes.

    Attributes:
        names: The P file names.
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
    """The annotation of one photo, in image pixels.

    Attributes:
        path: The image file.
        complete: Whether all people in it are annotated.
        people: ``(N, 4)`` float32 xyxy.
        maybe_crowds: ``(N,)`` bool, boxes for which the annotation does not say whether they are
            crowds.
        crowds: ``(C, 4)`` float32 xyxy, crowd regions.
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
        complete: Whether all people in the photos are annotated; photos marked as incomplete in the
            file are then left out.
        without: File names to leave out.

    Raises:
        DataError: If the file is not such JSON or no photo is left.
        ImageError: If an image is not there.
    """
    file = read_coco_file(annotations)
    file.require_people()
    require_names(file.images, file.source)
    people: dict[int, list[CocoPerson]] = {image.id: [] for image in file.images}
    for person in file.people:
        people[person.image_id].append(person)
    folder = ImageFolder(images)
    photos = [
        _photo(folder.find(image.file_name) or images / image.file_name, complete, people[image.id])
        for image in file.images
        if image.file_name not in without
        and parts_of(image.file_name)[-1] not in without
        and not (complete and image.note == PARTIAL)
    ]
    if not photos:
        raise DataError(f"{annotations}: no photos to train from")
    return photos


def _photo(path: Path, complete: bool, people: list[CocoPerson]) -> Photo:
    if not is_file(path):
        raise ImageError(f"{path}: this image of the annotations is not there")
    boxes = Boxes.from_xywh([person.box for person in people]).xyxy
    crowd = np.array([person.crowd for person in people], bool)
    maybe = np.array([person.maybe_crowd for person in people], bool)
    return Photo(path, complete, boxes[~crowd], maybe[~crowd], boxes[crowd])


def label(photo: Photo, teacher: Boxes) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Training boxes of a photo and their kinds.

    A large possible crowd counts as a person only if the teacher detects one there. In incomplete
    photos, the teacher's additional boxes are people if their score is at least `SURE`, else
    ignored.

    Args:
        photo: The annotation.
        teacher: Boxes that another detector finds in the photo, image pixels.

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
        complete: Whether all people in the photos are annotated; if not, the labeller finds the
            others.
    """

    annotations: Path
    images: Path
    complete: bool = True


@dataclass(frozen=True)
class PhotoDataConfig:
    """The photos to train a detector on.

    Attributes:
        sets: The sets, which are joined.
        exclude: Text files with names of images to leave out, one per line; ``#`` starts a comment.
        labeller: ONNX detector that completes the annotations; see `label`.
        cache: Folder for packed photos.
        side: Side of the square canvases.
    """

    sets: tuple[PhotoSetConfig, ...]
    exclude: tuple[Path, ...] = ()
    labeller: Path | None = None
    cache: Path = Path("runs/cache")
    side: int = 416

    def __post_init__(self) -> None:
        if not self.sets:
            raise ValueError("photos.sets is empty: name at least one set of photos")
        if self.labeller is None and not all(one.complete for one in self.sets):
            raise ValueError(
                "a set with complete = false needs a labeller, which finds the other people"
            )


def open_photos(
    config: PhotoDataConfig, labeller: Labeller | None, log: Callable[[str], None]
) -> PackedPhotos:
    """Read all sets and pack their photos.

    Without a labeller, possible crowds count as people.

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
    """Store photos and their labels, or open them if they are already stored.

    The folder's name is a hash of photos, annotations and labelling rules, so a stale cache is
    never used.

    Args:
        photos: The photos to store.
        labeller: Another detector; it runs only on photos with incomplete annotations.
        side: Side of the square canvases.
        cache: Folder of caches; these photos get their own sub-folder.
        asked: Identifies the labeller.

    Raises:
        ImageError: If an image cannot be read.
    """
    folder = cache / _fingerprint(photos, side, asked)
    if not folder.is_dir():
        make_folder(cache)
        temporary = Path(tempfile.mkdtemp(prefix="packing-", dir=cache))
        try:
            _write(photos, labeller, side, temporary)
            settle(temporary, folder)
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
