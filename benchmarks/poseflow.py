"""What PoseFlow costs a frame, by number of people, at 1280x720 with one thread."""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"
import sys
import time

import cv2
import numpy as np
from record import record
from sequences import COCO

from rmpe.poses import Poses
from rmpe.tracking.features import follow, joint_features, limb_colors, matched_share, shrink
from rmpe.tracking.oks_tracker import OksTracker
from rmpe.tracking.poseflow import PoseFlow, PoseFlowParameters

SIZE = (720, 1280)


def scene(people, frames, seed=0):
    """A picture that shifts by a few pixels a frame, and people who move with it."""
    rng = np.random.default_rng(seed)
    wide = cv2.GaussianBlur(
        rng.integers(0, 255, (SIZE[0], SIZE[1] + 4 * frames, 3), np.uint8), (0, 0), 2
    )
    wide = cv2.normalize(wide, None, 0, 255, cv2.NORM_MINMAX)
    center = rng.uniform((100, 150), (SIZE[1] - 100, SIZE[0] - 150), (people, 1, 2))
    shape = rng.uniform(-0.5, 0.5, (people, 17, 2)) * (80, 220)
    for frame in range(frames):
        points = center + shape - (4 * frame, 0) + rng.normal(0, 2, shape.shape)
        boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        scores = rng.uniform(0.5, 1, (people, 17))
        image = np.ascontiguousarray(wide[:, 4 * frame : 4 * frame + SIZE[1]])
        yield image, Poses(points, scores, scores.mean(axis=1), boxes, COCO)


def cost(tracker, frames):
    """Median milliseconds of CPU of `update`, the first frames left out."""
    times = []
    for image, poses in frames:
        started = time.thread_time()
        tracker.update(image, poses)
        times.append(time.thread_time() - started)
    return 1000 * float(np.median(times[3:]))


def parts(people):
    """Median milliseconds of the parts of one frame."""
    (first, before), (second, after) = list(scene(people, 2))
    small, later = shrink(first), shrink(second)
    moved = follow(small, later, joint_features(before))
    steps = {
        "grey": lambda: shrink(second),
        "flow": lambda: follow(small, later, joint_features(before)),
        "shares": lambda: matched_share(before, moved, after),
        "colours": lambda: limb_colors(second, after),
    }
    return {name: _median(step) for name, step in steps.items()}


def _median(step, rounds=15):
    times = []
    for _ in range(rounds):
        started = time.thread_time()
        step()
        times.append(time.thread_time() - started)
    return 1000 * float(np.median(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for people in arguments.people:
        flow = cost(PoseFlow(PoseFlowParameters(lookahead=5)), scene(people, arguments.frames))
        oks = cost(OksTracker(), scene(people, arguments.frames))
        rows.append([people, flow, oks])
        details = ", ".join(f"{name} {value:.1f}" for name, value in parts(people).items())
        print(f"{people} people: poseflow {flow:.1f} ms ({details}), oks {oks:.1f} ms", flush=True)
    if arguments.save:
        record(
            "poseflow-cost",
            title="PoseFlow's cost a frame",
            command="python benchmarks/poseflow.py " + " ".join(sys.argv[1:]),
            data="synthetic 1280x720 pictures, one thread",
            columns=["people", "poseflow, ms", "oks, ms"],
            rows=rows,
        )


if __name__ == "__main__":
    main()
