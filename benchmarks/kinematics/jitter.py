"""Jitter of angles before and after cleaning, on tracks of `rmpe track`.

    rmpe track pedestrians.mp4 --out ped --no-draw
    python -m benchmarks.kinematics.jitter ped

Jitter is the standard deviation of an angle's change from frame to frame, over people who were seen
in at least 50 frames; the table has the median over people. Real movement is in it, too.
"""

import sys
from pathlib import Path

import numpy as np

from rmpe.kinematics.angles import DEFINITIONS
from rmpe.kinematics.cleaning import Cleaning
from rmpe.kinematics.measure import MeasureOptions, measure
from rmpe.kinematics.tracks import read_tracks

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


def main() -> None:
    tracks = [
        track
        for track in read_tracks(Path(sys.argv[1]))
        if np.isfinite(track.confidence).sum() >= FEWEST
    ]
    print(f"{len(tracks)} people, degrees from frame to frame\n")
    names = [definition.name for definition in DEFINITIONS]
    table = {}
    for way, cleaning in WAYS.items():
        found = [measure(track, MeasureOptions(cleaning=cleaning)).angles for track in tracks]
        table[way] = [
            np.nanmedian([jitter(angles[name]) if name in angles else np.nan for angles in found])
            if any(name in angles for angles in found)
            else np.nan
            for name in names
        ]
    shown = [at for at, name in enumerate(names) if np.isfinite(table["as estimated"][at])]
    print("| filter | " + " | ".join(names[at] for at in shown) + " | of the jitter before |")
    print("|---|" + "---|" * (len(shown) + 1))
    for way, row in table.items():
        left = np.nanmean([row[at] / table["as estimated"][at] for at in shown])
        print(f"| {way} | " + " | ".join(f"{row[at]:.1f}" for at in shown) + f" | {left:.2f} |")


if __name__ == "__main__":
    main()
