"""Jitter of angles before and after cleaning, on tracks of ``rmpe track``.

RESULTS is what ``rmpe track pedestrians.mp4 --no-draw`` wrote. Jitter is the standard deviation of
an angle's change from frame to frame, over people who were seen in at least 50 frames; the table
has the median over people. Less jitter is only better if the movement stays, so each filter is also
given a made walker of the pedestrians' size, frame rate and noise, whose angles are known.
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
from rmpe.kinematics.walker import Walker

FEWEST = 50
RAW = Cleaning(filter="none", fill=0, outliers=0, min_score=0)
WAYS = {
    "as estimated": RAW,
    "spline": Cleaning(filter="spline"),
    "butterworth 4 Hz": Cleaning(filter="butterworth", cutoff=4.0),
    "butterworth 2.5 Hz": Cleaning(filter="butterworth", cutoff=2.5),
    "butterworth 1.5 Hz": Cleaning(filter="butterworth", cutoff=1.5),
    "median 5": Cleaning(filter="median"),
    "one-euro": Cleaning(filter="one-euro"),
}
# As large and quick as the pedestrians; with this noise the jitter of its trunk and knees, before
# any filter, is about theirs.
MADE = Walker(height=61, fps=10, seconds=20)
NOISE = 1.0  # pixels
OUTLIERS = 0.02
LOST = 0.03
SEEDS = range(5)


def jitter(values: np.ndarray) -> float:
    change = (np.diff(values) + 180) % 360 - 180
    return float(np.nanstd(change)) if np.isfinite(change).sum() > 10 else np.nan


def height(track: Track) -> float:
    """Median extent of a person's joints from top to bottom, pixels."""
    rows = track.points[np.isfinite(track.confidence), :, 1]
    return float(np.median(np.nanmax(rows, axis=1) - np.nanmin(rows, axis=1)))


def made(cleaning: Cleaning) -> tuple[float, dict[str, float]]:
    """Root mean square error of a made walker's angles, degrees, and their jitter by name."""
    truth = MADE.angles()
    off = []
    jitters: dict[str, list[float]] = {name: [] for name in truth}
    for seed in SEEDS:
        track = MADE.track(noise=NOISE, outliers=OUTLIERS, lost=LOST, seed=seed)
        found = measure(track, MeasureOptions(cleaning=cleaning)).angles
        for name, values in truth.items():
            off.append((found[name] - values + 180) % 360 - 180)
            jitters[name].append(jitter(found[name]))
    error = float(np.sqrt(np.nanmean(np.concatenate(off) ** 2)))
    return error, {name: float(np.mean(values)) for name, values in jitters.items()}


def sides(now: dict[str, float]) -> list[float]:
    """Jitter of the limbs, both sides together, and of trunk and head."""
    both = [
        float(np.mean([now[f"{side}_{name}"] for side in ("left", "right")]))
        for name in ("hip", "knee", "shoulder", "elbow")
    ]
    return [*both, now["trunk"], now["head"]]


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
    true = {name: jitter(values) for name, values in MADE.angles().items()}
    rows = [["made walker: true", *sides(true), None, None]]
    rows.append(["made walker: as estimated", *sides(made(RAW)[1]), None, made(RAW)[0]])
    for way, now in table.items():
        share = float(np.mean([now[name] / before[name] for name in before]))
        rows.append([way, *sides(now), share, made(WAYS[way])[0]])
    show(
        "kinematics-jitter",
        save=save,
        title="Jitter of angles in pedestrians.mp4, degrees from frame to frame",
        data=f"pedestrians.mp4, 10 frames a second, {len(tracks)} people",
        columns=[
            *["filter", "hip", "knee", "shoulder", "elbow", "trunk", "head", "share left"],
            "made walker, off by",
        ],
        rows=rows,
        notes=(
            "The models that ship, a detection every other frame. The joints of half of the people"
            f" span less than {np.median([height(track) for track in tracks]):.0f} pixels. Real"
            " movement is in the figures, too, as the first row shows. The last column is the error"
            f" of all angles of a made walker of {MADE.height:g} pixels at 10 frames a second, with"
            f" {NOISE:g} pixel of noise, {100 * OUTLIERS:g} % outliers and {100 * LOST:g} % lost"
            " joints: where less jitter comes with a larger error, movement was taken away."
        ),
    )


if __name__ == "__main__":
    main()
