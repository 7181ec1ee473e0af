"""One HTML page with all plots and figures of a measurement; it needs no other file."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rmpe.atomic import atomic
from rmpe.kinematics.angles import DEFINITIONS
from rmpe.kinematics.measure import MeasureOptions, Movement

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1000px; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { border-top: 1px solid #ddd; padding-top: 1.2rem; margin-top: 2rem; }
img { max-width: 100%; } table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; } .note { color: #666; }
"""


def write_page(
    movements: Sequence[Movement],
    plots: Mapping[int, Sequence[Path]],
    timeline: Path,
    options: MeasureOptions,
    path: Path,
) -> Path:
    """Write the page.

    Args:
        movements: The people, one section each.
        plots: The plots of each person, by id.
        timeline: The plot of all people.
        options: How they were measured.
        path: The file.

    Raises:
        OutputError: If it cannot be written.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>Movement</title><style>{STYLE}</style></head><body><h1>Movement</h1>",
        f"<p class='note'>{escape(_how(options))}</p>",
        _image(timeline, "Timeline of people"),
    ]
    for movement in movements:
        parts += _person(movement, plots[movement.track.person])
    parts.append("</body></html>\n")
    with atomic(path) as file:
        file.write("\n".join(parts).encode())
    return path


def _how(options: MeasureOptions) -> str:
    cleaning = options.cleaning
    detail = {
        "spline": "smoothing spline, smoothness found by likelihood",
        "butterworth": f"Butterworth, zero phase, {cleaning.cutoff:g} Hz",
        "median": f"median over {cleaning.window} frames",
        "one-euro": "one-euro",
        "none": "none",
    }[cleaning.filter]
    return (
        f"Filter: {detail}. Gaps up to {cleaning.fill:g} s are filled. Flexion and dorsiflexion are"
        " positive. Angles are those of the image plane: look at people from the side."
    )


def _person(movement: Movement, plots: Sequence[Path]) -> list[str]:
    track = movement.track
    states = {
        "seen": np.isfinite(movement.raw.points).all(axis=2),
        "filled": movement.cleaned.filled,
        "outliers taken out": movement.cleaned.outliers,
    }
    counts = ", ".join(f"{name} {100 * mask.mean():.1f} %" for name, mask in states.items())
    size = movement.scale.metres_per_pixel
    scale = (
        "no scale: give --height or --known-length"
        if size is None
        else f"{1000 * size:.2f} mm per pixel"
    )
    parts = [
        f"<h2>Person {track.person}</h2>",
        f"<p>{len(track)} frames, {track.seconds[0]:.2f} to {track.seconds[-1]:.2f} s at"
        f" {track.fps:g} frames a second; {scale}. Joints: {counts}.</p>",
        *(_image(plot, f"Person {track.person}: {plot.stem}") for plot in plots),
    ]
    titles = {definition.name: definition.title for definition in DEFINITIONS}
    rows = [
        [f"{_side(name)}{titles[name]}", *_range(values), _number(_fastest(movement.speeds[name]))]
        for name, values in movement.angles.items()
    ]
    parts.append(_table(["Angle", "lowest °", "mean °", "highest °", "fastest °/s"], rows))
    factor = 100 * size if size is not None else 1.0
    unit = "cm" if size is not None else "px"
    rows = [
        [
            name.replace("_", " "),
            _number(factor * np.nanmean(length)),
            _number(factor * np.nanstd(length)),
        ]
        for name, length in movement.segments.items()
    ]
    parts.append(_table(["Segment", f"mean {unit}", f"sd {unit}"], rows))
    return parts


def _side(name: str) -> str:
    return f"{name.partition('_')[0]} " if "_" in name else ""


def _range(values: NDArray[np.float64]) -> list[str]:
    return [_number(np.nanmin(values)), _number(np.nanmean(values)), _number(np.nanmax(values))]


def _fastest(speeds: NDArray[np.float64]) -> float:
    known = np.abs(speeds[np.isfinite(speeds)])
    return float(known.max()) if len(known) else float("nan")


def _number(value: float | np.floating) -> str:
    return f"{value:.1f}" if np.isfinite(value) else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _image(path: Path, words: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(words, quote=True)}' src='data:image/png;base64,{data}'>"
