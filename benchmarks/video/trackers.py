"""Trackers on videos with known truth: MOTA, IDF1, HOTA, id switches, time a frame.

The poses are the truth perturbed as an estimator might (6 % missed, jitter, false people), the same
for every tracker. The videos are made from photos (`sequences`): people cross, pass behind pillars,
leave and come back; the camera pans.
"""

import time

import click
import cv2
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.record import show
from benchmarks.video.cutouts import COCO, cutouts
from benchmarks.video.sequences import disturb, empty_photos, sequence
from rmpe.boxes import iou
from rmpe.evaluation.files.frames import Frame
from rmpe.evaluation.matching import hota, identity
from rmpe.poses import Poses
from rmpe.tracking.assignment import max_weight_matching
from rmpe.tracking.oks_tracker import OksTracker
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters

SECONDS = 6
COLUMNS = [
    "frames a second",
    "tracker",
    "people",
    "MOTA",
    "IDF1",
    "HOTA",
    "switches",
    "ids",
    "misses",
    "false people",
    "ms a frame",
]


class FrameByFrame:
    """What everybody begins with: the IoU with the boxes of the frame before, no memory."""

    latency = 0

    def __init__(self):
        self.last, self.next_id = Poses.empty(COCO), 0

    def update(self, _image, poses):
        ids = np.full(len(poses), -1)
        for row, column in zip(
            *max_weight_matching(iou(self.last.boxes, poses.boxes) - 0.3), strict=True
        ):
            ids[column] = self.last.track_ids[row]
        new = np.flatnonzero(ids < 0)
        ids[new] = self.next_id + np.arange(len(new))
        self.next_id += len(new)
        self.last = poses.replace(track_ids=ids)
        return [self.last]

    def flush(self):
        return []


def trackers(fps):
    memory = 3 * fps
    ahead = max(1, round(0.2 * fps))
    return {
        "IoU, frame by frame": FrameByFrame,
        "oks": lambda: OksTracker(memory=memory),
        "poseflow, no latency": lambda: PoseFlow(PoseFlowParameters(lookahead=0, memory=memory)),
        f"poseflow, {ahead} frames ahead": lambda: PoseFlow(
            PoseFlowParameters(lookahead=ahead, memory=memory)
        ),
    }


def measure(people, backgrounds, videos, fps):
    """A row a tracker: all see the same frames side by side, so that no video need be kept."""
    makers = trackers(fps)
    counts = {name: identity.PeopleCounts() for name in makers}
    wholes = {name: hota.HotaCounts.zero() for name in makers}
    seconds = dict.fromkeys(makers, 0.0)
    frames = 0
    actors = 0
    for seed in range(100, 100 + videos):
        rng = np.random.default_rng(seed + 1000)
        running = {name: make() for name, make in makers.items()}
        done = {name: [] for name in makers}
        truth = []
        for item in sequence(
            people, backgrounds, seed=seed, fps=fps, actors=4 + seed % 7, seconds=SECONDS
        ):
            truth.append(item.truth)
            poses = disturb(item.truth, rng, item.image.shape[:2])
            for name, tracker in running.items():
                started = time.thread_time()
                done[name] += tracker.update(item.image, poses)
                seconds[name] += time.thread_time() - started
        frames += len(truth)
        actors += len({i for poses in truth for i in poses.track_ids})
        for name, tracker in running.items():
            pairs = [
                scored(*pair) for pair in zip(truth, done[name] + tracker.flush(), strict=True)
            ]
            counts[name] += identity.count_identities(pairs, COCO.sigmas)
            wholes[name] += hota.count_hota(pairs, COCO.sigmas)
    names = ("MOTA", "IDF1", "HOTA", "switches", "tracks", "misses", "false_positives")
    for name in makers:
        figures = counts[name].figures() | wholes[name].figures()
        yield [fps, name, actors, *(figures[key] for key in names), 1000 * seconds[name] / frames]


def scored(truth, found):
    """One frame as the identity figures take it: everybody who was given an id."""
    found = found[found.track_ids >= 0]
    areas = 0.53 * np.prod(truth.boxes[:, 2:] - truth.boxes[:, :2], axis=1)
    arrays = (truth.keypoints, np.ones(len(truth)), areas, truth.track_ids)
    points = (found.keypoints, found.keypoint_scores, found.track_ids)
    return Frame(*arrays, *points)


@benchmark("data", "save")
@click.option(
    "--photos",
    type=click.Choice(["coco-val", "coco-train"]),
    default="coco-val",
    show_default=True,
    help="Whose people; coco-train is for tuning.",
)
@click.option("--videos", default=12, show_default=True)
@click.option("--fps", type=int, multiple=True, default=[10, 30], show_default=True)
def main(data, photos, videos, fps, save):
    cv2.setNumThreads(1)
    people = cutouts(folder(data, photos), 180 if photos == "coco-val" else 150, 60, 0)
    backgrounds = empty_photos(folder(data, "coco-train"), 30)
    rows = []
    for rate in fps:
        rows += measure(people, backgrounds, videos, rate)
        print(f"{rate} frames a second: done", flush=True)
    show(
        "tracking",
        save=save,
        title="Tracking on videos made from photos",
        data=f"{videos} videos of {SECONDS} s made from {photos} people, 1280x720",
        columns=COLUMNS,
        rows=rows,
        notes=(
            "Poses are the truth perturbed (6 % missed, jitter, false people), the same for all"
            " trackers. Misses count those too, since no tracker fills them in. The cut-out people"
            " move as stiff boards."
        ),
    )


if __name__ == "__main__":
    main()
