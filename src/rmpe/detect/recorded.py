"""Boxes from a file: another detector's results, or annotations."""

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.annotations.categories import Category
from rmpe.annotations.coco import CocoImage, parse_coco, parse_images, person_of, require_names
from rmpe.annotations.image_names import NameIndex
from rmpe.annotations.results import check_detections, detected_people, resolve_images
from rmpe.boxes import Boxes, size_of
from rmpe.errors import DataError
from rmpe.files import read_json

Rows = dict[int, list[list[float]]]


class RecordedBoxes:
    """Looks boxes up by image: any detector can be brought this way.

    Reads COCO detection results (a list of ``image_id``, ``bbox`` xywh, ``score``, optional
    ``category_id``) together with the images they speak of, or COCO annotations (which name their
    images themselves; crowds are left out).

    Attributes:
        file: The file.
        warnings: What was read as meant or left out, one line a kind.
    """

    def __init__(
        self, file: str | Path, images: str | Path | None = None, category: int | None = None
    ) -> None:
        """Read the file.

        Args:
            file: COCO results or annotations.
            images: COCO annotations (or any JSON with ``images``) that give the file name of each
                ``image_id``; without it, results are looked up by the number in an image's stem.
            category: The person category of results; by default the one that ``images`` calls
                person, else 1.

        Raises:
            DataError: If a file cannot be read or is not of that form, or no box in it is of a
                person.
        """
        self.file = Path(file)
        source = str(file)
        data = read_json(self.file)
        if isinstance(data, dict):
            rows, known, said = _annotated(data, source)
        elif isinstance(data, list):
            named = None if images is None else (read_json(Path(images)), str(images))
            rows, known, said = _detected(data, source, named, category)
        else:
            raise DataError(f"{source}: neither a COCO results list nor COCO annotations")
        self.warnings = said
        self._boxes = {
            image_id: _best_first(np.array(boxes), self.file) for image_id, boxes in rows.items()
        }
        self._ids = [image.id for image in known]
        self._names = NameIndex(image.file_name for image in known)

    def image_id(self, name: str) -> int | None:
        """The id of an image.

        It is that of the name with which its path shares the longest ending; where the file gives
        no names, the number in its stem.
        """
        place = self._names.find(name)
        if place is not None:
            return self._ids[place]
        stem = PurePosixPath(name.replace("\\", "/")).stem
        plain = stem.isascii() and stem.isdigit() and len(stem) < 19
        return int(stem) if plain and not self._ids else None

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:
        """The recorded boxes of the image called ``name``, clipped to it.

        Raises:
            DataError: If the file does not speak of this image; no boxes for a known image are
                fine.
        """
        image_id = self.image_id(name)
        if image_id is None or (not self._ids and image_id not in self._boxes):
            example = f"; it names {self._names.names[0]!r}" if self._names.names else ""
            raise DataError(f"{self.file}: has no boxes for {name}{example}")
        return self._boxes.get(image_id, Boxes.empty()).clip(size_of(image))


def _annotated(data: Any, source: str) -> tuple[Rows, tuple[CocoImage, ...], tuple[str, ...]]:
    if "annotations" not in data:
        raise DataError(f"{source}: neither a COCO results list nor COCO annotations")
    file = parse_coco(data, source)
    file.require_people()
    require_names(file.images, source)
    rows: Rows = defaultdict(list)
    flat = []
    for person in file.people:
        x, y, width, height = person.box.tolist()
        if min(width, height) < 0:
            raise DataError(f"{source}: annotation {person.id}: 'bbox' has a negative side")
        if not min(width, height) > 0:
            flat.append(str(person.id))
        elif not person.crowd:
            rows[person.image_id].append([x, y, x + width, y + height, person.score])
    if file.people and not rows:
        kinds = "boxes without extent and crowds" if flat else "crowds"
        raise DataError(f"{source}: its people are nothing but {kinds}")
    return rows, file.images, (*file.warnings, *_left_out(flat, "annotation", source))


def _detected(
    data: list[Any], source: str, named: tuple[Any, str] | None, wanted: int | None
) -> tuple[Rows, tuple[CocoImage, ...], tuple[str, ...]]:
    detections = check_detections(data, {"bbox": 4}, source, scored=False)
    images: tuple[CocoImage, ...] = ()
    person = None if wanted is None else Category(wanted)
    categories: tuple[Category, ...] = ()
    if named is not None:
        images = parse_images(*named)
        require_names(images, named[1])
        detections = resolve_images(detections, images, source)
        said_person, categories = person_of(*named)
        person = person or said_person
    elif text := [one["image_id"] for one in detections if isinstance(one["image_id"], str)]:
        raise DataError(
            f"{source}: image id {text[0]!r} is not a whole number: name the annotations that have"
            " it (--annotations)"
        )
    people, said = detected_people(detections, person, categories, source)
    rows: Rows = defaultdict(list)
    flat = []
    for place, detection in enumerate(people):
        x, y, width, height = detection["bbox"]
        if not min(width, height) > 0:
            flat.append(str(place))
            continue
        score = detection.get("score")
        box = [x, y, x + width, y + height, 1.0 if score is None else score]
        rows[detection["image_id"]].append(box)
    return rows, images, (*said, *_left_out(flat, "box of a person", source))


def _left_out(flat: list[str], what: str, source: str) -> list[str]:
    """What to say of boxes that hold nothing."""
    if not flat:
        return []
    return [f"{source}: {len(flat)} x 'bbox' without extent, left out, first: {what} {flat[0]}"]


def _best_first(rows: NDArray[np.float64], file: Path) -> Boxes:
    try:
        return Boxes(rows[:, :4], rows[:, 4])[np.argsort(-rows[:, 4], kind="stable")]
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
