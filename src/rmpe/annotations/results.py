"""COCO results files: detections of a program, checked against the images they speak of.

Source: https://cocodataset.org/#format-results.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rmpe import fields
from rmpe.annotations.categories import PERSON, Category
from rmpe.annotations.coco import CocoImage
from rmpe.annotations.image_names import NameIndex
from rmpe.errors import DataError

Record = dict[str, Any]
WHAT = "detection"


def check_detections(
    data: Any, lengths: dict[str, int], source: str, scored: bool = True
) -> list[Record]:
    """The detections of a results file, their numbers checked.

    Args:
        data: Parsed JSON.
        lengths: The lists that every detection must have, ``keypoints`` or ``bbox``, and how many
            numbers each holds.
        source: What to call the file in messages.
        scored: Whether every detection must have a score.

    Returns:
        Copies of the records with plain numbers in them. ``image_id`` may be text,
        ``category_id`` absent.

    Raises:
        DataError: If it is no such list or a detection is not what it should be.
    """
    if not isinstance(data, list):
        raise DataError(f"{source}: COCO results are a list with one table a detection")
    return [
        _detection(row, f"{source}: {WHAT} {index}", lengths, scored)
        for index, row in enumerate(data)
    ]


def _detection(row: Any, place: str, lengths: dict[str, int], scored: bool) -> Record:
    record = dict(fields.table(row, place))
    for key in ("image_id", *(["score"] if scored else []), *lengths):
        if record.get(key) is None:
            raise DataError(f"{place} has no {key!r}")
    if isinstance(record["image_id"], str):
        record["image_id"] = fields.name(record["image_id"], f"{place}: 'image_id'")
    else:
        record["image_id"] = fields.whole(record["image_id"], f"{place}: 'image_id'")
    if record.get("score") is not None:
        record["score"] = fields.number(record["score"], f"{place}: 'score'")
    for key, count in lengths.items():
        value = record[key]
        if not isinstance(value, list):
            raise DataError(f"{place}: {key!r} must be {count} numbers, got no list")
        if key == "keypoints" and value and isinstance(value[0], list):
            value = fields.triples(value, f"{place}: {key!r}").ravel().tolist()
        record[key] = fields.pixels(value, f"{place}: {key!r}", count).tolist()
    if "bbox" in lengths and min(record["bbox"][2:]) < 0:
        raise DataError(f"{place}: 'bbox' has a negative side; it is x, y, width, height")
    if "bbox" not in lengths and record.get("bbox") is not None:
        record["bbox"] = fields.pixels(record["bbox"], f"{place}: 'bbox'", 4).tolist()
    elif "bbox" not in lengths:
        record.pop("bbox", None)
    if record.get("category_id") is None:
        record.pop("category_id", None)
    else:
        record["category_id"] = fields.whole(record["category_id"], f"{place}: 'category_id'")
    return record


def resolve_images(
    detections: Sequence[Record], images: Sequence[CocoImage], source: str
) -> list[Record]:
    """The same detections with the ids of their images, also where they give a file's name.

    Raises:
        DataError: If an image is not among ``images``.
    """
    ids = {image.id for image in images}
    named = [image for image in images if image.file_name]
    index = NameIndex(image.file_name for image in named)
    found: dict[str, int | None] = {}
    resolved = []
    unknown = []
    for detection in detections:
        image_id: int | str | None = detection["image_id"]
        if isinstance(image_id, str):
            if image_id not in found:
                place = index.find(image_id)
                found[image_id] = None if place is None else named[place].id
            image_id = found[image_id]
        if image_id not in ids:
            unknown.append(detection["image_id"])
        resolved.append(detection | {"image_id": image_id})
    if unknown:
        said = fields.cut(unknown[0]) if isinstance(unknown[0], str) else unknown[0]
        raise DataError(
            f"{source}: image id {said!r} is not in the annotations"
            f" ({len(unknown)} such detections)"
        )
    return resolved


def detected_people(
    detections: Sequence[Record],
    person: Category | None,
    others: Sequence[Category],
    source: str,
) -> tuple[list[Record], list[str]]:
    """The detections of people, with the annotations' category, and warnings.

    A program that only finds people has a number of its own for them, mostly 1: where all
    detections have one number that the annotations do not use for anything else, it means people.

    Args:
        detections: Checked detections.
        person: The annotations' category of people; ``None`` = there are no annotations.
        others: All categories of the annotations.
        source: What to call the file in messages.

    Raises:
        DataError: If no detection is of a person.
    """
    wanted = person.id if person is not None else PERSON
    used = Counter(detection.get("category_id", wanted) for detection in detections)
    warnings = []
    taken = wanted
    if detections and not used[wanted]:
        known = {category.id: category for category in others}
        alone = next(iter(used)) if len(used) == 1 else None
        if person is None or alone is None or alone in known:
            ids = ", ".join(str(known.get(number, number)) for number in sorted(used)[:6])
            raise DataError(
                f"{source}: no detection is of a person (category {person or wanted}); they are of"
                f" {ids}"
            )
        taken = alone
        warnings.append(
            f"{source}: all detections are of category {alone}, which the annotations do not have:"
            f" taken for their {person}"
        )
    people = [
        detection | {"category_id": wanted}
        for detection in detections
        if detection.get("category_id", taken) == taken
    ]
    if left := len(detections) - len(people):
        warnings.append(
            f"{source}: {left} detections of other categories than person were left out"
        )
    return people, warnings
