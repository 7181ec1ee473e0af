"""Tracks of nobody: what a lowest mean score of a flow takes away, and how many people with it.

The clips are made from coco-train photos (`sequences`), the boxes and poses come from the models
that ship. A track that overlaps nobody in most of its frames is a ghost. Choose
`PoseFlowParameters.believed` by the table; measure it on other footage.
"""

from collections import defaultdict
from dataclasses import replace

import click
import numpy as np

import rmpe
from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.video.sequences import cutouts, empty_photos, sequence
from rmpe.boxes import iou
from rmpe.tracking.flow import CONVINCED
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters

FPS = 10
LEVELS = (0.0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def tracked(estimator, frames, flow):
    """(frame, its poses with ids) of a clip."""
    waiting = []
    for frame in frames:
        waiting.append(frame)
        for poses in flow.update(frame.image, estimator(frame.image)):
            yield waiting.pop(0), poses
    for poses in flow.flush():
        yield waiting.pop(0), poses


def histories(clips, estimator):
    """Every track: its mean score so far in each frame, and whether it overlaps a person there."""
    tracks = defaultdict(list)
    parameters = replace(PoseFlowParameters(), lookahead=2, memory=30, believed=0.0)
    for number, clip in enumerate(clips):
        for frame, poses in tracked(estimator, clip, PoseFlow(parameters)):
            overlap = iou(poses.boxes, frame.truth.boxes).max(axis=1, initial=0)
            for index in np.flatnonzero(poses.track_ids >= 0):
                mean = float(poses.scores[index])
                tracks[number, int(poses.track_ids[index])].append((mean, overlap[index] > 0.3))
        print(f"clip {number}: {len(tracks)} tracks so far", flush=True)
    return [np.array(rows, np.float64) for rows in tracks.values()]


def hidden(means, level):
    """The frames in which a track has no id: not believed now, nor for good (`Flow.believed`)."""
    known = np.arange(1, len(means) + 1) >= CONVINCED
    for_good = np.maximum.accumulate((means >= level) & known)
    return (means < level) & ~for_good


@benchmark("data")
@click.option("--videos", default=8, show_default=True)
@click.option("--seconds", default=4.0, show_default=True)
def main(data, videos, seconds):
    people = cutouts(folder(data, "coco-train"), 150, 60, seed=3)
    backgrounds = empty_photos(folder(data, "coco-train"), 60)
    scene = {"actors": 4, "fps": FPS, "seconds": seconds, "size": (480, 854)}
    clips = (sequence(people, backgrounds, seed=100 + number, **scene) for number in range(videos))
    tracks = histories(clips, rmpe.load(threads=1))
    ghosts = [rows for rows in tracks if rows[:, 1].mean() < 0.5]
    persons = [rows for rows in tracks if rows[:, 1].mean() >= 0.5]
    print(f"{len(persons)} tracks of people, {len(ghosts)} ghosts")
    print("believed | frames of people without an id | frames of ghosts without an id")
    for level in LEVELS:
        lost, gone = (
            np.concatenate([hidden(rows[:, 0], level) for rows in some] or [np.zeros(1, bool)])
            for some in (persons, ghosts)
        )
        print(
            f"{level:8.2f} | {lost.mean():6.1%} of {lost.size} | {gone.mean():6.1%} of {gone.size}"
        )


if __name__ == "__main__":
    main()
