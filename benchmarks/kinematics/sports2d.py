"""Angles of `rmpe kinematics` beside those of Sports2D, on the same poses.

    pip install sports2d
    rmpe track pedestrians.mp4 --out ped --no-draw
    python -m benchmarks.kinematics.sports2d ped

Sports2D takes its angles from `Pose2Sim.common.fixed_angles`, frame by frame; that function is
called here with the same unfiltered joints and the same facing as ours. The first table is of the
made walker, which has feet, the second of RESULTS.
"""

import sys
import time
from pathlib import Path

import numpy as np
from Pose2Sim.common import angle_dict, fixed_angles

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


def compare(tracks: list[Track]) -> None:
    print("| angle | frames | mean difference ° | largest difference ° |")
    print("|---|---|---|---|")
    seconds = {"rmpe": 0.0, "Sports2D": 0.0}
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
            seconds["rmpe"] += between - start
            seconds["Sports2D"] += time.perf_counter() - between
            away = (own - other + 180) % 360 - 180
            off.append(np.abs(away[np.isfinite(away)]))
        whole = np.concatenate(off)
        if len(whole):
            print(f"| {definition.name} | {len(whole)} | {whole.mean():.4f} | {whole.max():.4f} |")
    print("\n" + ", ".join(f"{name} {took:.3f} s" for name, took in seconds.items()) + "\n")


def main() -> None:
    compare([Walker().track()])
    raw = Cleaning(filter="none", fill=0, outliers=0)
    tracks = []
    for track in read_tracks(Path(sys.argv[1])):
        points = clean(track, raw).points
        tracks.append(Track(**{**vars(track), "points": points}))
    compare(tracks)


if __name__ == "__main__":
    main()
