"""Jitter of angles before and after cleaning, on tracks of ``rmpe track``.

RESULTS is what ``rmpe track pedestrians.mp4 --no-draw`` wrote. Jitter is the standard deviation of
an angle's change from frame to frame, over people who were seen in at least 50 frames; the table
has the median over people.
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.kinematics.angles import DEFINITIONS
from rmpe.kinematics.cleaning import Cleaning
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.tracks import Track, read_tracks

FEWEST = 50
RAW = Cleaning(filter="none", fill=0, outliers=0, min_score=0)
WAYS = {
    "as estimated": RAW,
    "butterworth 4 Hz": Cleaning(cutoff=4.0),
    "butterworth 2.5 Hz": Cleaning(cutoff=2.5),
    "butterworth 1.5 Hz": Cleaning(cutoff=1.5),
    "median 5": Cleaning(filter="median"),
    "one-euro": Cleaning(filter="one-euro"),
}


def jitter(values: np.ndarray) -> float:
    change = (np.diff(values) + 180) % 360 - 180
    return float(np.nanstd(change)) if np.isfinite(change).sum() > 10 else np.nan


def height(track: Track) -> float:
    """Median extent of a person's joints from top to bottom, pixels."""
    rows = track.points[np.isfinite(track.confidence), :, 1]
    return float(np.median(np.nanmax(rows, axis=1) - np.nanmin(rows, axis=1)))


def middle(name: str, found: list[dict[str, np.ndarray]]) -> float:
    """Median over people."""
    return float(np.nanmedian([jitter(angles[name]) for angles in found if name in angles]))


@benchmark("save")
@click.argument("results", type=click.Path(exists=True, path_type=Path))
def main(results: Path, save: bool) -> None:
    tracks = [
        track for track in read_tracks(results) if np.isfinite(track.confidence).sum() >= FEWEST
    ]
    table = {}
    for way, cleaning in WAYS.items():
        found = [measure(track, MeasureOptions(cleaning=cleaning)).angles for track in tracks]
        table[way] = {
            definition.name: middle(definition.name, found)
            for definition in DEFINITIONS
            if any(definition.name in angles for angles in found)
        }
    before = table["as estimated"]
    rows = []
    for way, now in table.items():
        sides = [
            float(np.mean([now[f"{side}_{name}"] for side in ("left", "right")]))
            for name in ("hip", "knee", "shoulder", "elbow")
        ]
        share = float(np.mean([now[name] / before[name] for name in before]))
        rows.append([way, *sides, now["trunk"], now["head"], share])
    show(
        "kinematics-jitter",
        save=save,
        title="Jitter of angles in pedestrians.mp4, degrees from frame to frame",
        data=f"pedestrians.mp4, 10 frames a second, {len(tracks)} people",
        columns=["filter", "hip", "knee", "shoulder", "elbow", "trunk", "head", "share left"],
        rows=rows,
        notes=(
            "The models that ship, a detection every other frame. The joints of half of the people"
            f" span less than {np.median([height(track) for track in tracks]):.0f} pixels. Real"
            " movement is in the figures, too: a cut-off of 1.5 Hz takes away some of a step."
        ),
    )


if __name__ == "__main__":
    main()
