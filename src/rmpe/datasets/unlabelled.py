"""A training set from a folder of unlabelled photos: a detector finds the people in them.

What comes out is an annotation file in COCO's layout whose people have a box and no joint; the
photos stay where they are. Photos that runs are measured on, and copies of them, must not be among
those that runs learn from, so near copies of given photos are left out, as are near copies within
the folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes
from rmpe.datasets.packed import read_rgb
from rmpe.datasets.unlisted import SURE
from rmpe.detect import Detector
from rmpe.errors import DataError, ImageError

# Side of the grey picture that is transformed, and of the block of low frequencies whose signs are
# the hash.
HASH_PICTURE, HASH_SIDE = 32, 8
HASHES = (2, HASH_SIDE**2)
# Two hashes of 64 bits that differ in so many are of near copies; those of different photos differ
# in about 32.
NEAR = 8


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """People in the photos of a folder.

    Attributes:
        names: Photos with somebody in them, relative to the folder.
        sizes: (height, width) of each of these photos.
        boxes: Who is in it, image pixels.
        left_out: What is wrong with the others: how many of each kind.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    boxes: tuple[Boxes, ...]
    left_out: dict[str, int]

    def to_coco(self) -> dict[str, Any]:
        """The set in COCO's layout; every person has a box, a ``score``, and no joints."""
        images = [
            {"id": index, "file_name": name, "height": height, "width": width}
            for index, (name, (height, width)) in enumerate(
                zip(self.names, self.sizes, strict=True)
            )
        ]
        people = [
            {
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [*box[:2], *(box[2:] - box[:2])],
                "score": score,
            }
            for image, boxes in enumerate(self.boxes)
            for box, score in zip(boxes.xyxy.astype(np.float64).round(1), boxes.scores, strict=True)
        ]
        for index, person in enumerate(people):
            person["bbox"] = [round(float(value), 1) for value in person["bbox"]]
            person |= {"id": index, "score": round(float(person["score"]), 3), "num_keypoints": 0}
        return {
            "images": images,
            "annotations": people,
            "categories": [{"id": 1, "name": "person"}],
        }


def find_unlabelled(
    folder: Path,
    names: Sequence[str],
    detector: Detector,
    known: Sequence[Path] = (),
    smallest: float = 48.0,
    sure: float = SURE,
    progress: Callable[[int, int], None] | None = None,
) -> FoundPeople:
    """Find the people of photos.

    Args:
        folder: Where the photos lie.
        names: Their file names in it.
        detector: Finds people.
        known: Photos whose near copies are left out.
        smallest: People whose longer side is shorter (pixels) are left out.
        sure: Boxes scored lower are left out.
        progress: Called with (done, total) photos now and then.

    Raises:
        ImageError: If a known photo cannot be read.
        DataError: If nobody is found.
    """
    seen = [photo_hashes(read_rgb(path)) for path in known]
    hashes, count = np.zeros((len(known) + len(names), *HASHES), np.bool_), len(known)
    hashes[:count] = np.array(seen, np.bool_).reshape(-1, *HASHES)
    found, left_out = (
        [],
        {"not readable": 0, "near copies of known photos": 0, "near copies in the folder": 0},
    )
    for done, name in enumerate(names):
        if progress and done % 50 == 0:
            progress(done, len(names))
        try:
            photo = read_rgb(folder / name)
        except ImageError:
            left_out["not readable"] += 1
            continue
        hashed = photo_hashes(photo)
        near = (hashes[:count] != hashed[0]).sum(axis=2).min(axis=1) <= NEAR
        if near.any():
            left_out[
                "near copies of known photos"
                if near[: len(known)].any()
                else "near copies in the folder"
            ] += 1
            continue
        hashes[count], count = hashed, count + 1
        boxes = detector(photo).clip(photo.shape[:2])
        boxes = boxes[(boxes.scores >= sure) & (boxes.sides.max(axis=1, initial=0) >= smallest)]
        if len(boxes):
            found.append((name, (photo.shape[0], photo.shape[1]), boxes))
    left_out["nobody in them"] = len(names) - len(found) - sum(left_out.values())
    if not found:
        raise DataError(f"{folder}: the detector found nobody in its {len(names)} photos")
    photos, sizes, people = zip(*found, strict=True)
    return FoundPeople(photos, sizes, people, left_out)


def photo_hashes(photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Perceptual hashes ``(2, 64)`` of an RGB photo and of its mirror image.

    The signs of its lowest frequencies: scaling, stretching, recompression and slight cuts change
    few of them.

    Source: the DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010.
    """
    grey, side = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), HASH_PICTURE
    low = cv2.dct(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32))
    low = low[:HASH_SIDE, :HASH_SIDE]
    mirrored = low * np.where(np.arange(HASH_SIDE) % 2, -1, 1).astype(
        np.float32
    )  # odd cosines change their sign
    return np.stack([(one > np.median(one)).ravel() for one in (low, mirrored)])
