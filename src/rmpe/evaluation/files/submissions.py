"""Reading annotation and result files in COCO's layout, and finding what is wrong with them.

What the official tool would refuse is an error that says where; what it would pass over is a
counted warning.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmpe.errors import DataError
from rmpe.files import read_json, read_names

Record = dict[str, Any]

# Area of a person where a file has none, as a share of its box: what CrowdPose's protocol uses
# everywhere.
BOX_SHARE = 0.53


@dataclass(frozen=True)
class People:
    """Annotated people of a set of images.

    Attributes:
        images: COCO image records, in the order of the file.
        annotations: COCO annotation records of people.
        category_id: Which category a person is.
        joints: Number of joints, 0 in a file that has boxes only.
        warnings: What was passed over, one line each.
    """

    images: list[Record]
    annotations: list[Record]
    category_id: int
    joints: int
    warnings: list[str] = field(default_factory=list)

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images, rising: the order COCO's tools work in."""
        return sorted(image["id"] for image in self.images)


def read_people(path: Path) -> People:
    """Read a COCO annotation file; see `check_people`."""
    return check_people(read_json(path), str(path))


def read_people_on(path: Path, photos: Path | None) -> People:
    """`read_people` on some photos only.

    Args:
        path: COCO annotation file.
        photos: Text file with the names of the photos, see `rmpe.files.read_names`; ``None`` = all.

    Raises:
        DataError: If a file cannot be read, or no photo is left.
    """
    people = read_people(path)
    if photos is None:
        return people
    names = read_names(photos)
    images = [image for image in people.images if image["file_name"] in names]
    if not images:
        raise DataError(f"{photos}: names no photo of {path}")
    ids = {image["id"] for image in images}
    persons = [person for person in people.annotations if person["image_id"] in ids]
    return People(images, persons, people.category_id, people.joints, people.warnings)


def check_people(data: Any, source: str = "annotations") -> People:
    """Check the contents of a COCO annotation file and keep its people.

    ``iscrowd``, ``num_keypoints`` and ``area`` (0.53 times the box) are filled in where absent;
    categories other than ``person`` are left out.

    Args:
        data: The parsed file.
        source: What to call it in messages.

    Raises:
        DataError: If lists are missing, ids are double or unknown, joint counts differ, or a number
            is not finite.
    """
    if not (
        isinstance(data, dict)
        and isinstance(data.get("images"), list)
        and isinstance(data.get("annotations"), list)
    ):
        raise DataError(
            f"{source}: not COCO annotations: lists 'images' and 'annotations' are needed"
        )
    person = next((c["id"] for c in data.get("categories", []) if c.get("name") == "person"), 1)
    if missing := [image for image in data["images"] if "id" not in image]:
        raise DataError(f"{source}: {len(missing)} images have no id")
    if text := [image["id"] for image in data["images"] if not isinstance(image["id"], int)]:
        raise DataError(f"{source}: image ids must be whole numbers, got {text[0]!r}")
    image_ids = _unique([image["id"] for image in data["images"]], "image", source)
    annotations = [dict(a) for a in data["annotations"] if a.get("category_id", person) == person]
    for annotation in annotations:
        if missing_keys := {"id", "image_id", "bbox"} - set(annotation):
            raise DataError(
                f"{source}: annotation {annotation.get('id', '?')} has no {sorted(missing_keys)[0]!r}"
            )
        annotation.setdefault("category_id", person)
        annotation["iscrowd"] = int(annotation.get("iscrowd", 0))
        if "keypoints" in annotation and "num_keypoints" not in annotation:
            annotation["num_keypoints"] = sum(flag > 0 for flag in annotation["keypoints"][2::3])
    _unique([annotation["id"] for annotation in annotations], "annotation", source)
    if unknown := sorted({a["image_id"] for a in annotations} - image_ids, key=str):
        raise DataError(
            f"{source}: annotations of image id {unknown[0]}, which is not in 'images' ({len(unknown)} such)"
        )
    _check_numbers(annotations, ("bbox", "area", "keypoints"), source)
    if odd := [annotation["id"] for annotation in annotations if len(annotation["bbox"]) != 4]:
        raise DataError(f"{source}: annotation {odd[0]}: 'bbox' must be 4 numbers")
    for annotation in annotations:
        annotation.setdefault("area", BOX_SHARE * annotation["bbox"][2] * annotation["bbox"][3])
    lengths = Counter(len(a["keypoints"]) for a in annotations if "keypoints" in a)
    if len(lengths) > 1 or any(length % 3 for length in lengths):
        raise DataError(
            f"{source}: 'keypoints' must all be as long, 3 numbers a joint; lengths {sorted(lengths)}"
        )
    return People(data["images"], annotations, person, next(iter(lengths), 0) // 3)


def read_results(path: Path, people: People, field_name: str) -> tuple[list[Record], list[str]]:
    """Read a COCO results file; see `check_results`."""
    return check_results(read_json(path), people, field_name, str(path))


def check_results(
    results: Any, people: People, field_name: str, source: str = "results"
) -> tuple[list[Record], list[str]]:
    """Check a COCO results list against the annotations it answers.

    Args:
        results: The parsed file: one dict a detection with ``image_id`` (or the image's file name
            in its place), ``score`` and ``keypoints`` or ``bbox``.
        people: The annotations.
        field_name: ``keypoints`` or ``bbox``: what is measured.
        source: What to call the list in messages.

    Returns:
        The detections of people, and one warning line for each kind of thing passed over: images
        without a detection, detections of other categories, detections that are there twice.

    Raises:
        DataError: If it is not such a list, an image id is unknown, a number is not finite, or the
            joint count differs.
    """
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise DataError(f"{source}: COCO results are a list with one dict a detection")
    for index, result in enumerate(results):
        if missing := {"image_id", "score", field_name} - set(result):
            raise DataError(f"{source}: detection {index} has no {sorted(missing)[0]!r}")
    image_ids = {image["id"] for image in people.images}
    names = {image["file_name"]: image["id"] for image in people.images if "file_name" in image}
    results = [
        result | {"image_id": names.get(result["image_id"], result["image_id"])}
        for result in results
    ]
    if unknown := [result["image_id"] for result in results if result["image_id"] not in image_ids]:
        raise DataError(
            f"{source}: image id {unknown[0]!r} is not in the annotations ({len(unknown)} such detections)"
        )
    length = 3 * people.joints if field_name == "keypoints" else 4
    for index, result in enumerate(results):
        if not isinstance(result[field_name], list) or len(result[field_name]) != length:
            given = len(result[field_name]) if isinstance(result[field_name], list) else "no list"
            raise DataError(
                f"{source}: detection {index}: {field_name!r} must be {length} numbers, got {given}"
            )
    _check_numbers(results, (field_name, "score"), source)
    persons = [
        result
        for result in results
        if result.get("category_id", people.category_id) == people.category_id
    ]
    persons = [result | {"category_id": people.category_id} for result in persons]
    return persons, _warnings(results, persons, image_ids, field_name, source)


def _warnings(
    results: list[Record], persons: list[Record], image_ids: set[Any], field_name: str, source: str
) -> list[str]:
    empty = len(image_ids - {result["image_id"] for result in persons})
    seen = Counter(
        (result["image_id"], result["score"], tuple(result[field_name])) for result in persons
    )
    counts = {
        f"of {len(image_ids)} images have no detection": empty,
        "detections of other categories than person were left out": len(results) - len(persons),
        "detections are there twice or more; each counts": sum(
            count - 1 for count in seen.values()
        ),
    }
    return [f"{source}: {count} {what}" for what, count in counts.items() if count]


def _unique(ids: list[Any], what: str, source: str) -> set[Any]:
    if doubles := [value for value, count in Counter(ids).items() if count > 1]:
        raise DataError(
            f"{source}: {what} id {doubles[0]} is there more than once ({len(doubles)} such ids)"
        )
    return set(ids)


def _check_numbers(records: list[Record], fields: tuple[str, ...], source: str) -> None:
    for name in fields:
        rows = [(index, record[name]) for index, record in enumerate(records) if name in record]
        try:
            values = np.array(
                [number for _, row in rows for number in np.atleast_1d(row)], np.float64
            )
        except (TypeError, ValueError) as error:
            raise DataError(f"{source}: {name!r} must hold numbers only: {error}") from error
        if not np.isfinite(values).all():
            bad = next(
                index for index, row in rows if not np.isfinite(np.array(row, np.float64)).all()
            )
            raise DataError(f"{source}: record {bad}: {name!r} has a number that is not finite")
