"""COCO annotation files: images, and the people in them.

Source: https://cocodataset.org/#format-data (keypoint detection). Home-made files and exports of
labelling programs keep to it loosely, so what can only mean one thing is read so and counted;
anything else is one line that names file, annotation and field.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.annotations.categories import Category, person_category, read_categories
from rmpe.errors import DataError
from rmpe.files import read_json

# Area of a person where a file has none, as a share of its box: what CrowdPose's protocol uses
# everywhere.
BOX_SHARE = 0.53
# Ids of annotations that have none: below those of real ones and of `rmpe.datasets.unlisted`.
FIRST_MADE_ID = -2


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of an annotation file.

    Attributes:
        id: Its number.
        file_name: Its name; empty if the file gives none.
        size: (height, width) in pixels, if the file says.
        crowd_index: How crowded it is, by CrowdPose's files.
        note: Its entry ``annotation``, with which partly annotated sets say so.
    """

    id: int
    file_name: str = ""
    size: tuple[int, int] | None = None
    crowd_index: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CocoPerson:
    """A person, or a region with many.

    Attributes:
        id: The annotation's number, negative if the file gives none.
        image_id: The image's.
        box: ``(4,)`` x, y, width, height in image pixels.
        area: Square pixels; 0.53 times the box where the file has none.
        keypoints: ``(K, 3)`` x, y, flag (0 = not labelled); ``None`` if nobody labelled any.
        crowd: Whether it is a region with many people.
        maybe_crowd: Whether the file says that this is not known.
        score: Of boxes that a detector made; 1 for true ones.
        declared: What the file's ``num_keypoints`` says, if it is there.
    """

    id: int
    image_id: int
    box: NDArray[np.float64]
    area: float
    keypoints: NDArray[np.float64] | None = None
    crowd: bool = False
    maybe_crowd: bool = False
    score: float = 1.0
    declared: int | None = None

    @property
    def labelled(self) -> int:
        """How many joints are labelled."""
        return 0 if self.keypoints is None else int((self.keypoints[:, 2] > 0).sum())


@dataclass(frozen=True, eq=False)
class CocoFile:
    """An annotation file.

    Attributes:
        source: What to call it in messages.
        images: All its images.
        people: Its people, in the order of the file.
        category: What it calls a person, with its joints' names.
        unlisted: Places of annotations whose image is not among ``images``; they are left out.
        others: What says how many annotations of which other categories were left out; empty if
            there are none.
        warnings: What was read as meant or left out, one line a kind; ``others`` is the last.
    """

    source: str
    images: tuple[CocoImage, ...]
    people: tuple[CocoPerson, ...]
    category: Category
    unlisted: tuple[tuple[str, int], ...]
    others: str
    warnings: tuple[str, ...]

    def require_people(self) -> None:
        """That not all annotations are of something else than people.

        Raises:
            DataError: If they are.
        """
        if self.others and not self.people and not self.unlisted:
            raise DataError(f"{self.others}; nobody is left")


def read_coco_file(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        DataError: If it cannot be read or a value in it can mean nothing.
    """
    return parse_coco(read_json(path), str(path))


def parse_coco(data: Any, source: str) -> CocoFile:
    """An annotation file from its parsed JSON; errors as `read_coco_file`."""
    if not (isinstance(data, dict) and "images" in data and "annotations" in data):
        raise DataError(
            f"{source}: not COCO annotations (not COCO JSON): the lists 'images' and 'annotations'"
            " are needed"
        )
    images = parse_images(data, source)
    rows = _rows(data, source)
    numbers = [_optional_id(row, "category_id", index, source) for index, row in enumerate(rows)]
    used = Counter(numbers)
    categories = read_categories(data.get("categories"), source)
    category = person_category(categories, used, source)
    reader = _PersonReader(source, {image.id for image in images})
    for index, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        if number in (category.id, None):
            reader.add(index, row)
    others = _others(used, category, categories, source)
    warnings = (*reader.warnings(), *([others] if others else []))
    people = tuple(reader.people)
    return CocoFile(source, images, people, category, tuple(reader.unlisted), others, warnings)


def person_of(data: Any, source: str) -> tuple[Category | None, tuple[Category, ...]]:
    """What a file that names images calls a person, if it says, and all its categories.

    Raises:
        DataError: If its categories are not what COCO's are.
    """
    if not isinstance(data, dict) or not data.get("categories"):
        return None, ()
    rows = _rows(data, source) if "annotations" in data else []
    used = Counter(
        _optional_id(row, "category_id", index, source) for index, row in enumerate(rows)
    )
    categories = read_categories(data["categories"], source)
    return person_category(categories, used, source), categories


def _rows(data: dict[str, Any], source: str) -> list[dict[str, Any]]:
    return [
        fields.table(row, f"{source}: annotation {index}")
        for index, row in enumerate(fields.items(data["annotations"], f"{source}: 'annotations'"))
    ]


def _others(
    used: Counter[int | None], person: Category, categories: Sequence[Category], source: str
) -> str:
    left = {number: count for number, count in used.items() if number not in (person.id, None)}
    if not left:
        return ""
    names = {category.id: str(category) for category in categories}
    listed = ", ".join(names.get(number or 0, str(number)) for number in list(left)[:6])
    return (
        f"{source}: {sum(left.values())} annotations of other categories than {person} were left"
        f" out: {listed}"
    )


def parse_images(data: Any, source: str) -> tuple[CocoImage, ...]:
    """The images of a COCO file, or of a list of them, from parsed JSON.

    Raises:
        DataError: If there is no such list, an id is no whole number, or an image is there twice.
    """
    rows = data.get("images") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise DataError(
            f"{source}: not COCO annotations: it needs 'images' with 'id' and 'file_name'"
        )
    images = [_image(row, index, source) for index, row in enumerate(rows)]
    _refuse_doubles([image.id for image in images], "image id", source)
    _refuse_doubles([image.file_name for image in images if image.file_name], "image", source)
    return tuple(images)


def require_names(images: Iterable[CocoImage], source: str) -> None:
    """That all images have a name.

    Raises:
        DataError: If one has none.
    """
    for image in images:
        if not image.file_name:
            raise DataError(f"{source}: image {image.id} has no 'file_name'")


def _image(value: Any, index: int, source: str) -> CocoImage:
    row = fields.table(value, f"{source}: image {index}")
    given = row.get("id")
    if given is None:
        raise DataError(f"{source}: image {index} has no 'id'")
    if isinstance(given, str):
        raise DataError(f"{source}: image id {fields.cut(given)!r} is not a whole number")
    number = fields.whole(given, f"{source}: image {index}: 'id'")
    place = f"{source}: image {number}"
    name = row.get("file_name")
    sides = [row.get(key) for key in ("height", "width")]
    size = None
    if None not in sides:
        height, width = (
            fields.whole(side, f"{place}: {key!r}")
            for key, side in zip(("height", "width"), sides, strict=True)
        )
        if min(height, width) <= 0 or max(height, width) > fields.LARGEST_PIXEL:
            raise DataError(f"{place}: 'width' and 'height' are {width} and {height} pixels")
        size = (height, width)
    crowding = row.get("crowdIndex")
    note = row.get("annotation")
    return CocoImage(
        number,
        "" if name in (None, "") else fields.name(name, f"{place}: 'file_name'"),
        size,
        None if crowding is None else _crowding(crowding, place),
        note if isinstance(note, str) else "",
    )


def _crowding(value: Any, place: str) -> float:
    index = fields.number(value, f"{place}: 'crowdIndex'")
    if index < 0:
        raise DataError(f"{place}: 'crowdIndex' is negative: {index:g}")
    return index


def _optional_id(row: dict[str, Any], key: str, index: int, source: str) -> int | None:
    if row.get(key) is None:
        return None
    return fields.whole(row[key], f"{source}: annotation {_named(row, index)}: {key!r}")


def _named(row: dict[str, Any], index: int) -> str:
    """What to call an annotation: its id, else its place."""
    number = row.get("id")
    sound = isinstance(number, int) and not isinstance(number, bool)
    return fields.cut(str(number)) if sound else f"number {index}"


class _PersonReader:
    """Collects people one by one, and counts what had to be read as meant."""

    def __init__(self, source: str, image_ids: set[int]) -> None:
        self.source = source
        self.image_ids = image_ids
        self.people: list[CocoPerson] = []
        self.unlisted: list[tuple[str, int]] = []
        self._seen: dict[int, dict[str, Any]] = {}
        self._people: set[int] = set()
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def warnings(self) -> list[str]:
        """One line a kind."""
        return [
            f"{self.source}: {count} x {what}, first: annotation {self._first[what]}"
            for what, count in self._counts.items()
        ]

    def add(self, index: int, row: dict[str, Any]) -> None:
        """Take one annotation."""
        named = _named(row, index)
        place = f"{self.source}: annotation {named}"
        number = _optional_id(row, "id", index, self.source)
        if number is None:
            self._count("'id' missing or null", named)
            number = FIRST_MADE_ID - index
        elif (before := self._seen.get(number)) is not None:
            if before == row:
                self._count("annotation there twice with the same id, dropped", named)
                return
            raise DataError(
                f"{self.source}: annotation id {number} is there more than once with other contents"
            )
        self._seen[number] = row
        for key in ("image_id", "bbox"):
            if row.get(key) is None:
                raise DataError(f"{place} has no {key!r}")
        if isinstance(row["image_id"], str):
            said = fields.cut(row["image_id"])
            raise DataError(f"{place}: image id {said!r} is not a whole number")
        image_id = fields.whole(row["image_id"], f"{place}: 'image_id'")
        if image_id not in self.image_ids:
            self.unlisted.append((named, image_id))
            return
        box = fields.pixels(row["bbox"], f"{place}: 'bbox'", 4)
        keypoints = self._keypoints(row, place)
        score = row.get("score")
        declared = row.get("num_keypoints")
        person = CocoPerson(
            number,
            image_id,
            box,
            self._area(row, box, named, place),
            keypoints,
            self._flag(row, "iscrowd", named, place),
            self._flag(row, "iscrowd_unknown", named, place),
            1.0 if score is None else fields.number(score, f"{place}: 'score'"),
            None if declared is None else fields.whole(declared, f"{place}: 'num_keypoints'"),
        )
        if person.labelled:  # boxes alone may be the same by chance
            known = (image_id, box.tobytes(), b"" if keypoints is None else keypoints.tobytes())
            if hash(known) in self._people:
                self._count("a person of the same box and joints under another id, kept", named)
            self._people.add(hash(known))
        self.people.append(person)

    def _keypoints(self, row: dict[str, Any], place: str) -> NDArray[np.float64] | None:
        value = row.get("keypoints")
        if value is None or value == []:
            return None
        return fields.triples(value, f"{place}: 'keypoints'")

    def _area(self, row: dict[str, Any], box: NDArray[np.float64], named: str, place: str) -> float:
        value = row.get("area")
        area = 0.0 if value is None else fields.number(value, f"{place}: 'area'")
        if area < 0 or area > fields.LARGEST_PIXEL**2:
            raise DataError(f"{place}: 'area' is {area:g}, not the area of a person")
        if area > 0:
            return area
        if value is not None:
            self._count(f"'area' 0, taken as {BOX_SHARE} times the box", named)
        return float(BOX_SHARE * max(box[2], 0) * max(box[3], 0))

    def _flag(self, row: dict[str, Any], key: str, named: str, place: str) -> bool:
        if key not in row:
            return False
        if row[key] is None:
            self._count(f"{key!r} null, taken as 0", named)
            return False
        return fields.flag(row[key], f"{place}: {key!r}")

    def _count(self, what: str, named: str) -> None:
        self._counts[what] += 1
        self._first.setdefault(what, named)


def _refuse_doubles(values: list[Any], what: str, source: str) -> None:
    doubles = [value for value, count in Counter(values).items() if count > 1]
    if doubles:
        said = fields.cut(doubles[0]) if isinstance(doubles[0], str) else doubles[0]
        raise DataError(f"{source}: {what} {said} is there more than once ({len(doubles)} such)")
