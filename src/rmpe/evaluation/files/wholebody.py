"""COCO-WholeBody's files: annotations and results whose parts stand under keys of their own."""

from pathlib import Path
from typing import Any

from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People, Record, check_people, check_results
from rmpe.files import read_json
from rmpe.write.coco_wholebody import PARTS

WHOLE = 3 * PARTS["righthand_kpts"].stop


def read_wholebody_people(path: Path) -> People:
    """Read annotations; the 133 joints of a person come together under ``keypoints``.

    Raises:
        DataError: If it is not such a file, or a part is missing.
    """
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("annotations"), list):
        # ``num_keypoints`` and the names of the category speak of the body alone.
        rows = [
            {key: value for key, value in _joined(row, path, number).items()
             if key != "num_keypoints"} if isinstance(row, dict) else row
            for number, row in enumerate(data["annotations"])
        ]  # fmt: skip
        data = data | {"annotations": rows}
        if isinstance(data.get("categories"), list):
            data["categories"] = [
                {key: value for key, value in category.items() if key != "keypoints"}
                if isinstance(category, dict)
                else category
                for category in data["categories"]
            ]
    return check_people(data, str(path))


def read_wholebody_results(path: Path, people: People) -> tuple[list[Record], list[str]]:
    """Read results, with parts of their own or 133 joints in one; see `check_results`.

    Raises:
        DataError: If it is not such a file, or a part is missing.
    """
    data = read_json(path)
    if isinstance(data, list):
        data = [
            _joined(row, path, number) if isinstance(row, dict) else row
            for number, row in enumerate(data)
        ]
    return check_results(data, people, "keypoints", str(path))


def _joined(row: dict[str, Any], path: Path, number: int) -> dict[str, Any]:
    whole = row.get("keypoints")
    if isinstance(whole, list) and len(whole) == WHOLE:
        return row
    numbers: list[Any] = []
    for key, part in PARTS.items():
        values = row.get(key)
        length = 3 * (part.stop - part.start)
        if not isinstance(values, list) or len(values) != length:
            given = len(values) if isinstance(values, list) else "no list"
            raise DataError(
                f"{path}: record {number}: {key!r} must be {length} numbers, got {given}"
            )
        numbers += values
    return {key: value for key, value in row.items() if key not in PARTS} | {"keypoints": numbers}
