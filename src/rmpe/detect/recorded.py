"""Boxes from a file: another detector's results, or annotations."""

from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Boxes, size_of
from rmpe.errors import DataError
from rmpe.files import read_json


class RecordedBoxes:
    """Looks boxes up by image: any detector can be brought this way.

    Reads COCO detection results (a list of ``image_id``, ``bbox`` xywh, ``score``, optional
    ``category_id``) together with the images they speak of, or COCO annotations (which name their
    images themselves; crowds are left out).
    """

    def __init__(
        self, file: str | Path, images: str | Path | None = None, category: int = 1
    ) -> None:
        """Read the file.

        Args:
            file: COCO results or annotations.
            images: COCO annotations (or any JSON with ``images``) that give the file name of each
                ``image_id``; without it, results are looked up by the number in an image's stem.
            category: The person category; others are ignored.

        Raises:
            DataError: If a file cannot be read or is not of that form.
        """
        self.file = Path(file)
        data = read_json(self.file)
        names = data if isinstance(data, dict) else read_json(Path(images)) if images else {}
        rows = data.get("annotations") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            raise DataError(f"{file}: neither a COCO results list nor COCO annotations")
        boxes: dict[int, list[list[float]]] = defaultdict(list)
        for number, row in enumerate(rows):
            try:
                if row.get("category_id", category) != category or row.get("iscrowd", 0):
                    continue
                x, y, width, height = (float(value) for value in row["bbox"])
                boxes[int(row["image_id"])].append(
                    [x, y, x + width, y + height, float(row.get("score", 1.0))]
                )
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{file}: entry {number} needs image_id and bbox [x, y, w, h]: {error!r}"
                ) from error
        self._boxes = {
            image_id: _best_first(np.array(rows), self.file) for image_id, rows in boxes.items()
        }
        self._ids = {image["file_name"]: int(image["id"]) for image in names.get("images", [])}

    def image_id(self, name: str) -> int | None:
        """The id of an image, by its path's longest ending the file knows, else by the number in its stem."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):
            found = self._ids.get("/".join(parts[start:]))
            if found is not None:
                return found
        stem = PurePosixPath(parts[-1]).stem if parts else ""
        return int(stem) if stem.isdecimal() and not self._ids else None

    def __call__(self, image: NDArray[np.uint8], name: str = "") -> Boxes:
        """The recorded boxes of the image called ``name``, clipped to it.

        Raises:
            DataError: If the file does not speak of this image; no boxes for a known image are
                fine.
        """
        image_id = self.image_id(name)
        if image_id is None or (not self._ids and image_id not in self._boxes):
            raise DataError(f"{self.file}: has no boxes for {name}")
        return self._boxes.get(image_id, Boxes.empty()).clip(size_of(image))


def _best_first(rows: NDArray[np.float64], file: Path) -> Boxes:
    try:
        return Boxes(rows[:, :4], rows[:, 4])[np.argsort(-rows[:, 4], kind="stable")]
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
