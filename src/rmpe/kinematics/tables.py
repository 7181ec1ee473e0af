"""Tidy tables: one row a value, as CSV and Parquet; the columns are described in docs."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import atomic
from rmpe.extras import load_extra
from rmpe.kinematics.measure import Movement

Columns: TypeAlias = Mapping[str, NDArray[Any]]
# Decimals of what is not a whole number or a word; pixels, metres, degrees and seconds.
DECIMALS = {"seconds": 6, "x_m": 5, "y_m": 5, "mean_m": 5, "sd_m": 5}


def write_tables(movements: Sequence[Movement], out_dir: Path) -> list[Path]:
    """Write ``angles``, ``joints`` and ``segments`` as CSV and Parquet.

    Raises:
        OutputError: If a file cannot be written.
        MissingPackageError: If pyarrow is not installed.
    """
    arrow = load_extra("pyarrow", "kinematics")
    parquet = load_extra("pyarrow.parquet", "kinematics")
    files = []
    for name, make in (("angles", angles), ("joints", joints), ("segments", segments)):
        parts = [make(movement) for movement in movements]
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        path = out_dir / f"{name}.csv"
        with atomic(path) as file:
            text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(columns)
            rows.writerows(_cells(columns))
            text.detach()
        table = arrow.table(
            {key: arrow.array(column, from_pandas=True) for key, column in columns.items()}
        )
        with atomic(path.with_suffix(".parquet")) as file:
            parquet.write_table(table, file)
        files += [path, path.with_suffix(".parquet")]
    return files


def angles(movement: Movement) -> Columns:
    """Columns of the table of angles: a row for each angle and frame."""
    names = list(movement.angles)
    count = len(movement.track)
    return {
        **_when(movement, len(names)),
        "angle": np.tile(np.array(names, object), count),
        "degrees": _interleaved(movement.angles, names),
        "degrees_per_second": _interleaved(movement.speeds, names),
    }


def joints(movement: Movement) -> Columns:
    """Columns of the table of joints: a row for each joint and frame."""
    track = movement.track
    known = movement.scale.metres_per_pixel is not None
    metres = movement.places if known else np.full_like(track.points, np.nan)
    raw = movement.raw.points
    state = np.full(raw.shape[:2], "measured", object)
    state[~np.isfinite(track.points).all(axis=2)] = "missing"
    state[movement.cleaned.outliers] = "outlier"
    state[movement.cleaned.filled] = "filled"
    return {
        **_when(movement, len(track.skeleton)),
        "joint": np.tile(np.array(track.skeleton.joints, object), len(track)),
        "x_px": track.points[..., 0].ravel(),
        "y_px": track.points[..., 1].ravel(),
        "x_m": metres[..., 0].ravel(),
        "y_m": metres[..., 1].ravel(),
        "raw_x_px": raw[..., 0].ravel(),
        "raw_y_px": raw[..., 1].ravel(),
        "score": movement.raw.scores.ravel(),
        "state": state.ravel(),
    }


def segments(movement: Movement) -> Columns:
    """Columns of the table of segments: a row for each segment, over all frames."""
    size = movement.scale.metres_per_pixel
    lengths = list(movement.segments.values())
    means = np.array([np.nanmean(length) for length in lengths], np.float64)
    spreads = np.array([np.nanstd(length) for length in lengths], np.float64)
    factor = np.nan if size is None else size
    return {
        "person": np.full(len(lengths), movement.track.person, np.int64),
        "segment": np.array(list(movement.segments), object),
        "frames": np.array([np.isfinite(length).sum() for length in lengths], np.int64),
        "mean_px": means,
        "sd_px": spreads,
        "mean_m": means * factor,
        "sd_m": spreads * factor,
    }


def _when(movement: Movement, repeats: int) -> Columns:
    track = movement.track
    return {
        "person": np.full(len(track) * repeats, track.person, np.int64),
        "frame": np.repeat(track.frames, repeats),
        "seconds": np.repeat(track.seconds, repeats),
    }


def _interleaved(
    values: Mapping[str, NDArray[np.float64]], names: Sequence[str]
) -> NDArray[np.float64]:
    """Frame by frame, in each frame by name."""
    if not names:
        return np.zeros(0)
    return np.stack([values[name] for name in names], axis=1).ravel()


def _cells(columns: Columns) -> Iterator[tuple[Any, ...]]:
    """Rows of text and numbers; what is missing is empty."""
    cells = []
    for name, column in columns.items():
        if column.dtype.kind == "f":
            rounded = column.round(DECIMALS.get(name, 3))
            column = np.where(np.isfinite(rounded), rounded.astype(object), "")  # noqa: PLW2901
        cells.append(column.tolist())
    return zip(*cells, strict=True)
