"""Angles of ``rmpe kinematics`` beside those of Sports2D, on the same poses.

RESULTS is what ``rmpe track pedestrians.mp4 --no-draw`` wrote. Sports2D takes its angles from
``Pose2Sim.common.fixed_angles``, frame by frame; that function is called here with the same
unfiltered joints and the same facing as ours. It needs ``pip install sports2d``.
"""

import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from Pose2Sim.common import angle_dict, fixed_angles

from benchmarks.options import benchmark
from benchmarks.record import show
from rmpe.kinematics.angles import DEFINITIONS, angle, directions, place
from rmpe.kinematics.cleaning import Cleaning, clean
from rmpe.kinematics.tracks import Track, read_tracks
from rmpe.kinematics.walker import Walker

PARTS = {
    "Hip": "hip",
    "Knee": "knee",
    "Ankle": "ankle",
    "BigToe": "big_toe",
    "Heel": "heel",
    "Shoulder": "shoulder",
    "Elbow": "elbow",
    "Wrist": "wrist",
}
MIDDLES = {"Hip": "hips", "Neck": "shoulders", "Head": "head"}


def theirs(track: Track, side: np.ndarray, name: str) -> np.ndarray:
    """Sports2D's angle, moved to our zero where its definition has another one."""
    key = name.replace("_", " ")
    ends = []
    for word in angle_dict[key][0]:
        joint = MIDDLES.get(word) or f"{'left' if word[0] == 'L' else 'right'}_{PARTS[word[1:]]}"
        ends.append(place(track, joint) * np.stack([side, np.ones(len(side))], axis=1))
    found = np.array(
        [fixed_angles([end[at] for end in ends], key) for at in range(len(track))], np.float64
    )
    return 90 - found if name == "trunk" else found


def compare(what: str, tracks: list[Track]) -> tuple[list[list], str]:
    """Rows of the table, and the seconds of both."""
    rows = []
    ours = 0.0
    other_took = 0.0
    for definition in DEFINITIONS:
        if definition.name == "head":  # theirs is against the horizontal, ours against the trunk
            continue
        off = []
        for track in tracks:
            side = directions(track, "auto")
            start = time.perf_counter()
            own = angle(track, definition, side)
            between = time.perf_counter()
            other = theirs(track, side, definition.name)
            ours += between - start
            other_took += time.perf_counter() - between
            away = (own - other + 180) % 360 - 180
            off.append(np.abs(away[np.isfinite(away)]))
        whole = np.concatenate(off)
        if len(whole):
            rows.append([what, definition.name, len(whole), whole.mean(), whole.max()])
    return rows, f"{what}: rmpe {ours:.3f} s, Sports2D {other_took:.3f} s for the angles."


@benchmark("save")
@click.argument("results", type=click.Path(exists=True, path_type=Path))
def main(results: Path, save: bool) -> None:
    raw = Cleaning(filter="none", fill=0, outliers=0)
    tracks = [replace(track, points=clean(track, raw).points) for track in read_tracks(results)]
    made, made_seconds = compare("made walker", [Walker().track()])
    real, real_seconds = compare("pedestrians.mp4", tracks)
    show(
        "kinematics-sports2d",
        save=save,
        title="Angles beside those of Sports2D, degrees",
        data="a made walker with feet; pedestrians.mp4 with the models that ship",
        columns=["what", "angle", "values", "mean difference", "largest difference"],
        rows=[*made, *real],
        notes=(
            f"{made_seconds} {real_seconds} Only the definitions are compared, with one facing for"
            " both; Sports2D's trunk is taken from 90 degrees, as its zero lies there. Without toes"
            " and heels Sports2D takes everybody to face right. Its head is measured against the"
            " horizontal, ours against the trunk, so it is left out. Sports2D as a whole was not"
            " run."
        ),
    )


if __name__ == "__main__":
    main()
