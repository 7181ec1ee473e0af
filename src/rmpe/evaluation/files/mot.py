"""Tracks in the MOT Challenge's layout: one text file a sequence, one line a person and frame.

Source: https://motchallenge.net/instructions; Milan et al., "MOT16: A Benchmark for Multi-Object
    Tracking", 2016 (classes).
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError
from rmpe.fields import LARGEST_ID, LARGEST_PIXEL
from rmpe.files import is_endless

# Confidence and class of a line that has none.
ABSENT = (1.0, -1.0)


@dataclass(frozen=True, eq=False)
class MotRows:
    """Lines of a file.

    Attributes:
        frames: ``(N,)`` int64, counted from 1.
        ids: ``(N,)`` int64.
        xyxy: ``(N, 4)`` float32 pixels.
        flags: ``(N,)``, confidence; in annotations 0 = not counted.
        classes: ``(N,)`` int64; -1 where the file has none.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    xyxy: NDArray[np.float32]
    flags: NDArray[np.float64]
    classes: NDArray[np.int64]


def read_mot(path: Path) -> MotRows:
    """Read ``frame, id, left, top, width, height[, confidence[, class ...]]``.

    Raises:
        DataError: If the file cannot be read, or a line has too few numbers or none at all.
    """
    rows = []
    try:
        if is_endless(path):
            raise DataError(f"{path}: not a regular file (a pipe or a device)")
        with path.open(encoding="utf-8", newline="") as file:
            for number, cells in enumerate(csv.reader(file), 1):
                if not cells:
                    continue
                values = [float(cell) for cell in cells]
                if len(values) < 6 or not np.isfinite(values).all():
                    raise ValueError(f"line {number} needs 6 finite numbers or more")
                if np.abs(values).max() > LARGEST_ID or np.abs(values[2:6]).max() > LARGEST_PIXEL:
                    raise ValueError(f"line {number} has a number beyond any id or picture")
                if min(values[4:6]) <= 0:
                    raise ValueError(f"line {number}: width and height must be above 0")
                missing = max(8 - len(values), 0)
                rows.append([*values[:8], *ABSENT[2 - missing :]])
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(
            f"{path}: not MOT text (frame, id, left, top, width, height, ...): {error}"
        ) from error
    table = np.array(rows, np.float64).reshape(-1, 8)
    boxes = table[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    return MotRows(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        boxes.astype(np.float32),
        table[:, 6],
        table[:, 7].astype(np.int64),
    )


def read_sequences(annotations: Path, results: Path) -> dict[str, tuple[MotRows, MotRows]]:
    """Read annotated and predicted tracks of all sequences.

    Args:
        annotations: A folder with ``NAME/gt/gt.txt`` for each sequence, such a sequence's folder,
            or one text file.
        results: A folder with ``NAME.txt`` for each sequence; for one sequence the file itself.

    Returns:
        Annotated and predicted rows of each sequence.

    Raises:
        DataError: If a file is missing or invalid.
    """
    found = {"sequence": annotations} if annotations.is_file() else _annotated(annotations)
    if results.is_file():
        if len(found) > 1:
            raise DataError(f"{results}: one file for the {len(found)} sequences of {annotations}")
        files = dict.fromkeys(found, results)
    else:
        files = {name: results / f"{name}.txt" for name in found}
        if missing := [str(path) for path in files.values() if not path.is_file()]:
            raise DataError(f"{missing[0]}: the sequence has no results; {len(missing)} missing")
    return {name: (read_mot(path), read_mot(files[name])) for name, path in found.items()}


def _annotated(folder: Path) -> dict[str, Path]:
    alone = folder / "gt" / "gt.txt"
    if alone.is_file():
        return {folder.resolve().name: alone}
    files = sorted(folder.glob("*/gt/gt.txt"))
    if not files:
        raise DataError(f"{folder}: no sequence: expected NAME/gt/gt.txt in it")
    return {path.parent.parent.name: path for path in files}
