"""Crops of people, stored once as uint8 in a memory-mapped file, so training decodes no JPEGs.

A stored crop covers the person's box grown by ``growth`` (the model's crop) and again by ``margin``
(room for perturbed boxes, rotation and scaling). Its resolution is such that an unperturbed model
crop is sampled at about 1:1.
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
from rmpe.files import make_folder

# Part of the cache key; increase it when the stored bytes change for the same input.
FORMAT = 1


@dataclass(frozen=True)
class CropSpec:
    """How people are stored.

    Attributes:
        size: (height, width) of the model's crop.
        growth: Factor from the sides of the person's box to those of the model's crop.
        margin: Factor from the sides of the model's crop to those of the stored crop. At 1.5 it
            contains every box of the same size with an IoU of at least 0.5.
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
    """People as stored crops; "stored" is the frame of a crop's pixels, with integer centres.

    Attributes:
        spec: How the crops are stored.
        crops: ``(N, H, W, 3)`` uint8 RGB, memory-mapped, black outside the image.
        boxes: ``(N, 4)`` float32 xyxy, true boxes, stored pixels.
        keypoints: ``(N, K, 2)`` float32, stored pixels, NaN where not labelled.
        visibility: ``(N, K)`` uint8.
        image_to_stored: ``(N, 2, 3)`` float64.
        people: The people in the original images (image pixels).
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
    """Crop and store people, or open them if they are already stored.

    The folder's name is a hash of everything that determines its contents (boxes, joints, image
    names, sizes and modification times, ``spec``), so a stale cache is never used.

    Args:
        people: The people to store.
        spec: How to store them.
        cache: Folder of caches; this set gets its own sub-folder.
        progress: Called from time to time with (done, total) images.

    Raises:
        DataError: If there are no people.
        ImageError: If an image cannot be read.
    """
    if not len(people):
        raise DataError("no training data: the data sets contain no person with labelled joints")
    folder = cache / _fingerprint(people, spec)
    stored = image_to_stored(people.boxes, spec)
    if not (folder / "crops.npy").is_file():
        make_folder(cache)
        temporary = Path(tempfile.mkdtemp(prefix="packing-", dir=cache))
        try:
            _write(people, spec, stored, temporary, progress)
            settle(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    # From edge coordinates to the frame of pixel centres.
    corners = people.boxes.reshape(-1, 2, 2) + np.float32(-0.5)
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


def settle(written: Path, folder: Path) -> None:
    """Give a cache its name, unless another process has stored the same things meanwhile."""
    try:
        written.rename(folder)
    except OSError:
        if not all((folder / file.name).is_file() for file in written.iterdir()):
            raise


def image_to_stored(boxes: NDArray[np.float32], spec: CropSpec) -> affine.Matrix:
    """Maps ``(N, 2, 3)`` from image pixels to stored crops."""
    return affine.boxes_to_crops(
        Boxes(boxes).grow(spec.growth * spec.margin).xyxy, spec.stored_size, "center"
    )


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as ``(H, W, 3)`` uint8 RGB.

    EXIF orientation is ignored, because annotations refer to the stored pixels.

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
