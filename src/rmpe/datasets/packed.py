"""People cut out once and kept as uint8 crops in one memory-mapped file, so that training never
waits for JPEGs.

A stored crop shows the person's box grown by ``growth`` (what the model will see) and once more by
``margin`` (room for disturbed boxes, rotation and scaling). Its pixels per person are such that an
undisturbed model crop is cut from it at about 1:1.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe import affine
from rmpe.boxes import Boxes
from rmpe.datasets.persons import PersonSet
from rmpe.errors import DataError, ImageError

# Part of the cache key: raise it when the stored bytes would differ for the same request.
FORMAT = 1


@dataclass(frozen=True)
class CropSpec:
    """How people are stored.

    Attributes:
        size: (height, width) of the model's crop.
        growth: How much the model's crop is larger than the person's box, per side.
        margin: How much the stored crop is larger than the model's, per side. 1.5 holds every box
            of the person's own size that overlaps it by IoU 0.5 or more.
    """

    size: tuple[int, int]
    growth: float = 1.3
    margin: float = 1.5

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) of the stored crops."""
        return round(self.size[0] * self.margin), round(self.size[1] * self.margin)


@dataclass(frozen=True, eq=False)
class PackedCrops:
    """People as stored crops; "stored" is the frame of a crop's pixels, centres at integers.

    Attributes:
        spec: How they were stored.
        crops: ``(N, H, W, 3)`` uint8 RGB, memory-mapped, black outside the image.
        boxes: ``(N, 4)`` float32 xyxy, true boxes, stored pixels.
        keypoints: ``(N, K, 2)`` float32, stored pixels, NaN where not labelled.
        visibility: ``(N, K)`` uint8.
        image_to_stored: ``(N, 2, 3)`` float64.
        people: Where they came from (image pixels).
        folder: The cache folder.
    """

    spec: CropSpec
    crops: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    visibility: NDArray[np.uint8]
    image_to_stored: affine.Matrix
    people: PersonSet
    folder: Path

    def __len__(self) -> int:
        return len(self.crops)


def pack(
    people: PersonSet,
    spec: CropSpec,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> PackedCrops:
    """Cut out and store people, or find them already stored.

    The folder's name is a hash of everything that decides its contents (boxes, joints, image paths,
    sizes and times of change, ``spec``), so a stale cache is never read.

    Args:
        people: Whom to store.
        spec: How.
        cache: Folder of caches; this set gets a sub-folder of its own.
        progress: Called with (done, total) images now and then.

    Raises:
        DataError: If there is nobody to store.
        ImageError: If an image cannot be read.
    """
    if not len(people):
        raise DataError("nobody to train on: the data sets hold no person with labelled joints")
    folder = cache / _fingerprint(people, spec)
    stored = image_to_stored(people.boxes, spec)
    if not (folder / "crops.npy").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="packing-", dir=cache))
        try:
            _write(people, spec, stored, temporary, progress)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    corners = people.boxes.reshape(-1, 2, 2) + np.float32(
        -0.5
    )  # edges to the frame of pixel centres
    return PackedCrops(
        spec=spec,
        crops=np.load(folder / "crops.npy", mmap_mode="r"),
        boxes=(affine.apply(stored, corners) + 0.5).reshape(-1, 4).astype(np.float32),
        keypoints=affine.apply(stored, people.keypoints).astype(np.float32),
        visibility=people.visibility,
        image_to_stored=stored,
        people=people,
        folder=folder,
    )


def image_to_stored(boxes: NDArray[np.float32], spec: CropSpec) -> affine.Matrix:
    """Maps ``(N, 2, 3)`` from image pixels to stored crops."""
    return affine.boxes_to_crops(
        Boxes(boxes).grow(spec.growth * spec.margin).xyxy, spec.stored_size, "center"
    )


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image as ``(H, W, 3)`` uint8 RGB, EXIF orientation ignored (annotations refer to the
    pixels as stored).

    Raises:
        ImageError: If it cannot be read.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ImageError(f"{path}: cannot read this image")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image.

    Raises:
        ImageError: If it cannot be read.
    """
    height, width = read_rgb(path).shape[:2]
    return height, width


def _write(
    people: PersonSet,
    spec: CropSpec,
    stored: affine.Matrix,
    folder: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    height, width = spec.stored_size
    shape = (len(people), height, width, 3)
    crops = np.lib.format.open_memmap(folder / "crops.npy", mode="w+", dtype=np.uint8, shape=shape)
    by_image = np.argsort(people.image_index, kind="stable")
    groups = np.split(by_image, np.flatnonzero(np.diff(people.image_index[by_image])) + 1)
    for number, group in enumerate(groups):
        image = read_rgb(people.images[int(people.image_index[group[0]])])
        for person in group:
            crops[person] = cv2.warpAffine(
                image, stored[person], (width, height), flags=cv2.INTER_LINEAR
            )
        if progress and number % 50 == 0:
            progress(number, len(groups))
    crops.flush()
    (folder / "about.json").write_text(
        json.dumps({"people": len(people), "size": spec.size, "growth": spec.growth})
    )


def _fingerprint(people: PersonSet, spec: CropSpec) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, spec.size, spec.growth, spec.margin]).encode())
    arrays: tuple[NDArray[Any], ...] = (
        people.image_index,
        people.boxes,
        people.keypoints,
        people.visibility,
    )
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    for path in people.images:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
