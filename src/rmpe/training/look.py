"""A run to look at: its curves, and a page of samples as the net sees them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpe import fields
from rmpe.atomic import save_figure
from rmpe.extras import load_extra
from rmpe.files import parse_json, read_bytes
from rmpe.media.images import save_image
from rmpe.media.tiles import tile_page

LOG = "log.jsonl"
CURVES = "curves.png"
SAMPLES = "samples.png"
MOST_SAMPLES = 24
COLUMNS = 8
SMALLEST_TILE = 192  # pixels; smaller inputs are enlarged
RESOLUTION = 110  # dots per inch
NO_LOSS = ("step", "time", "lr", "people_per_second")
VALIDATION = "validation_"
FROM_ZERO = ("items a second", "validation")

Series = tuple[list[int], list[float]]


def write_samples(pictures: Sequence[NDArray[np.uint8]], run: Path) -> Path:
    """Write ``samples.png``: inputs with their labels, at most `MOST_SAMPLES`.

    Args:
        pictures: RGB uint8 images of one size, at least one.
        run: The run's folder.

    Raises:
        OutputError: If it cannot be written.
    """
    chosen = pictures[:MOST_SAMPLES]
    factor = -(-SMALLEST_TILE // min(chosen[0].shape[:2]))
    tiles = [
        np.asarray(
            cv2.resize(one, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST), np.uint8
        )
        for one in chosen
    ]
    save_image(run / SAMPLES, tile_page(tiles, min(COLUMNS, len(tiles))))
    return run / SAMPLES


def write_curves(run: Path) -> Path | None:
    """Write ``curves.png`` from a run's log: losses, learning rate, speed and validation.

    Returns:
        The file; ``None`` if the log has no line yet.

    Raises:
        DataError: If the log is missing or damaged.
        MissingPackageError: If Matplotlib is not installed.
        OutputError: If it cannot be written.
    """
    series = read_log(run / LOG)
    if not series:
        return None
    panels = {
        "losses": [name for name in series if not _apart(name)],
        "learning rate": ["lr"],
        "items a second": ["people_per_second"],
        "validation": [name for name in series if name.startswith(VALIDATION)],
    }
    shown = {title: [name for name in names if name in series] for title, names in panels.items()}
    shown = {title: names for title, names in shown.items() if names}
    figures = load_extra("matplotlib.figure", "train")
    figure = figures.Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.subplots(-(-len(shown) // 2), min(2, len(shown)), squeeze=False).ravel()
    for panel, (title, names) in zip(axes, shown.items(), strict=False):
        _draw(panel, title, {name: series[name] for name in names})
    for panel in axes[len(shown) :]:
        panel.set_visible(False)
    figure.suptitle(run.name, fontsize=12)
    return save_figure(figure, run / CURVES, dpi=RESOLUTION)


def read_log(path: Path) -> dict[str, Series]:
    """The figures of a log by name: steps and values.

    Where a run was resumed or started anew in the same folder, what was logged before for the same
    or later steps is left out.

    Raises:
        DataError: If it is missing or a line is damaged.
    """
    rows: list[tuple[int, dict[str, float]]] = []
    lines = read_bytes(path).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        place = f"{path}: line {number}"
        row = fields.table(parse_json(line, place), place)
        step = fields.whole(row.get("step"), f"{place}: 'step'")
        own = {name: _value(value, f"{place}: {name!r}") for name, value in row.items()}
        validated = any(name.startswith(VALIDATION) for name in own)
        while rows and (rows[-1][0] > step or (rows[-1][0] == step and not validated)):
            rows.pop()
        rows.append((step, own))
    series: dict[str, Series] = {}
    for step, own in rows:
        for name, value in own.items():
            if name not in ("step", "time"):
                steps, values = series.setdefault(name, ([], []))
                steps.append(step)
                values.append(value)
    return series


def _value(value: Any, place: str) -> float:
    """A figure of the log; one that is not finite is a gap in its curve."""
    if isinstance(value, float) and not np.isfinite(value):
        return float("nan")
    return fields.number(value, place)


def _apart(name: str) -> bool:
    return name in NO_LOSS or name.startswith(VALIDATION)


def _draw(panel: Any, title: str, series: dict[str, Series]) -> None:
    for name, (steps, values) in series.items():
        marker = "o" if len(steps) < 30 else None
        label = name.removeprefix(VALIDATION)
        panel.plot(steps, values, linewidth=1.3, marker=marker, markersize=3, label=label)
    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel("step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25)
    if title in FROM_ZERO:
        panel.set_ylim(bottom=0)
    if title not in FROM_ZERO[:1] and "lr" not in series:
        panel.legend(fontsize=8, frameon=False)
