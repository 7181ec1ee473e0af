"""People that a data set does not list, found by a detector for a teacher to pseudo-label."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rmpe.atomic import atomic
from rmpe.boxes import Boxes, iou
from rmpe.datasets.packed import read_rgb
from rmpe.datasets.persons import ABSENT, PersonSet
from rmpe.detect import load_detector
from rmpe.files import make_folder
from rmpe.runtime import sha256_of

# Smallest score at which a detected box counts as an unlisted person.
SURE = 0.35
# Smallest IoU at which a detected and an annotated box are the same person.
SAME = 0.5
# Id of people without an annotation.
NO_ID = -1


def add_unlisted(people: PersonSet, found: Sequence[Boxes]) -> PersonSet:
    """Add confidently detected people that are not listed, without labelled joints.

    Args:
        people: The people of a set.
        found: Detected boxes in each of ``people.images``, image pixels.
    """
    boxes = [people.boxes]
    image_index = [people.image_index]
    for image, detected in enumerate(found):
        listed = people.boxes[people.image_index == image]
        new = (detected.scores >= SURE) & ~(iou(listed, detected.xyxy) >= SAME).any(axis=0)
        boxes.append(detected.xyxy[new])
        image_index.append(np.full(int(new.sum()), image, np.int64))
    count = sum(map(len, boxes[1:]))
    keypoints = np.full((count, len(people.skeleton), 2), np.nan, np.float32)
    return replace(
        people,
        boxes=np.concatenate(boxes),
        image_index=np.concatenate(image_index),
        keypoints=np.concatenate([people.keypoints, keypoints]),
        visibility=np.concatenate(
            [people.visibility, np.full(keypoints.shape[:2], ABSENT, np.uint8)]
        ),
        ids=np.concatenate([people.ids, np.full(count, NO_ID, np.int64)]),
    )


def find_people(
    images: Sequence[Path],
    detector: Path,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> list[Boxes]:
    """Detect people in images; the results are cached.

    Args:
        images: The image files.
        detector: ONNX detector of any kind that `rmpe predict` accepts.
        cache: Folder of caches.
        progress: Called with (done, total) images.

    Returns:
        Boxes in image pixels, one entry per image.

    Raises:
        ModelError: If the detector cannot be used.
        ImageError: If an image cannot be read.
    """
    digest = hashlib.sha256(sha256_of(detector).encode())
    for path in images:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    file = cache / f"people-{digest.hexdigest()[:16]}.npz"
    if not file.is_file():
        make_folder(cache)
        detect = load_detector(detector, threads=1)
        found = []
        for done, path in enumerate(images):
            found.append(detect(read_rgb(path)))
            if progress and done % 50 == 0:
                progress(done, len(images))
        counts = [len(boxes) for boxes in found]
        xyxy = np.concatenate([boxes.xyxy for boxes in found] or [np.zeros((0, 4), np.float32)])
        scores = np.concatenate([boxes.scores for boxes in found] or [np.zeros(0, np.float32)])
        with atomic(file) as temporary:
            np.savez(temporary, counts=counts, xyxy=xyxy, scores=scores)
    with np.load(file) as saved:
        ends = np.cumsum(saved["counts"], dtype=np.int64)[:-1]
        parts = zip(np.split(saved["xyxy"], ends), np.split(saved["scores"], ends), strict=True)
        return [Boxes(xyxy, scores) for xyxy, scores in parts][: len(images)]
