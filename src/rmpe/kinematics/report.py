"""All files of a measurement in one folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rmpe.errors import DataError
from rmpe.kinematics.measure import MeasureOptions, Movement, measure
from rmpe.kinematics.motion_files import write_motion_files
from rmpe.kinematics.page import write_page
from rmpe.kinematics.plots import plot_angles, plot_strip, plot_timeline
from rmpe.kinematics.tables import write_tables
from rmpe.kinematics.tracks import Track

FEWEST = 5  # frames with a person; fewer are no movement


@dataclass(frozen=True, eq=False)
class Measured:
    """People who were measured, and what could not be done.

    Attributes:
        movements: One per person.
        short: Ids of those seen in fewer than `FEWEST` frames, who are left out.
        unscaled: Ids of those measured in pixels, because their height in pixels is unknown.
    """

    movements: list[Movement]
    short: list[int]
    unscaled: list[int]


def measure_all(tracks: Sequence[Track], options: MeasureOptions) -> Measured:
    """Measure people; one whose height cannot be measured does not stop the others.

    Raises:
        DataError: If nobody is left, or the height of the only person cannot be measured.
        UsageError: If an option does not fit the video.
    """
    long = [track for track in tracks if np.isfinite(track.confidence).sum() >= FEWEST]
    short = sorted({track.person for track in tracks} - {track.person for track in long})
    if not long:
        raise DataError(f"nobody was seen in {FEWEST} frames or more: nothing to measure")
    movements = []
    unscaled = []
    for track in long:
        try:
            movements.append(measure(track, options))
        except DataError:
            if len(tracks) == 1:
                raise
            unscaled.append(track.person)
            movements.append(measure(track, replace(options, height=None)))
    return Measured(movements, short, unscaled)


# Files of one person.
OF_ONE = re.compile(r"person_\d{4,}(\.trc|\.mot|\.c3d|_strip\.png|_angles\.png)")


def write_report(
    movements: Sequence[Movement], options: MeasureOptions, out_dir: Path
) -> list[Path]:
    """Write tables, motion files, plots and the page.

    Returns:
        The files, the page last.

    Raises:
        OutputError: If a file cannot be written.
        MissingPackageError: If a package of the extra ``kinematics`` is not installed.
    """
    files = write_tables(movements, out_dir)
    timeline = plot_timeline([movement.raw for movement in movements], out_dir / "timeline.png")
    plots = {}
    for movement in movements:
        files += write_motion_files(movement, out_dir)
        stem = f"person_{movement.track.person:04d}"
        plots[movement.track.person] = [
            plot_strip(movement, out_dir / f"{stem}_strip.png"),
            *([plot_angles(movement, out_dir / f"{stem}_angles.png")] if movement.angles else []),
        ]
        files += plots[movement.track.person]
    page = write_page(movements, plots, timeline, options, out_dir / "index.html")
    _remove_others(out_dir, files)
    return [*files, timeline, page]


def _remove_others(out_dir: Path, files: Sequence[Path]) -> None:
    """Remove what an older report wrote of people who are not in this one."""
    for stale in {*out_dir.glob("person_*")} - {*files}:
        if OF_ONE.fullmatch(stale.name) and stale.is_file():
            stale.unlink()
