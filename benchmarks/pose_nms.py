"""How long pose NMS takes: 5 to 200 candidates of 17 joints, one thread.

    python benchmarks/pose_nms.py [--save]

Two scenes. "crowd": five poses of each person, people side by side, as a detector gives them in a
crowd. "heap": all candidates overlap, half of them poses of one person, so that every pair must be
looked at. The published times of the authors' current code (one thread of a 2-core server, its best
case) are given for 50 and 200 candidates.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded

import argparse
import time
from collections.abc import Callable

import numpy as np
from record import show

from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.suppress import SUPPRESSORS

COUNTS = (5, 20, 50, 200)
AUTHORS_MS = {50: 17.0, 200: 70.0}
KINDS = {"parametric": "ours", "oks": "OKS-NMS", "rmpe2016": "2016 rule, our code"}
SKELETON = load_skeleton("coco17")


def scene(kind: str, count: int, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    people = max(1, count // 5) if kind == "crowd" else 1 + count // 2
    person = (
        np.arange(count) % people
        if kind == "crowd"
        else np.maximum(np.arange(count) - count // 2, 0)
    )
    spread = 60.0 * np.sqrt(people) if kind == "crowd" else 10.0
    corner = rng.uniform(0, spread, (people, 2))[person]
    joints = rng.uniform(0, 1, (people, len(SKELETON), 2))[person] * (60, 150)
    points = corner[:, None] + joints + rng.normal(0, 2, (count, len(SKELETON), 2))
    boxes = np.concatenate([corner, corner + np.array([60, 150])], axis=1)
    return Poses(
        points, rng.uniform(0.3, 1, points.shape[:2]), rng.uniform(0.05, 1, count), boxes, SKELETON
    )


def milliseconds(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Median processor time of as many calls as fit, after a few to warm up: other processes disturb it least."""
    for _ in range(5):
        call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--save", action="store_true", help="record the table for docs/results.md")
    arguments = parser.parse_args()
    rows = []
    for kind in ("crowd", "heap"):
        for count in COUNTS:
            poses = scene(kind, count)
            times = {
                name: milliseconds(lambda poses=poses, name=name: SUPPRESSORS[name](poses))
                for name in KINDS
            }
            authors = AUTHORS_MS.get(count)
            ratio = round(authors / times["parametric"], 1) if authors else None
            left = len(SUPPRESSORS["parametric"](poses))
            rows.append(
                [kind, count, left, *(round(value, 3) for value in times.values()), authors, ratio]
            )
    columns = [
        "scene",
        "candidates",
        "left",
        *(f"{name} (ms)" for name in KINDS.values()),
        "authors (ms)",
        "authors / ours",
    ]
    show(
        "pose_nms_time",
        save=arguments.save,
        title="Pose NMS: milliseconds, one thread",
        command="python benchmarks/pose_nms.py --save",
        data="synthetic poses of 17 joints",
        columns=columns,
        rows=rows,
        notes="Medians of processor time. The authors' times are published ones, of another 2-core server.",
    )


if __name__ == "__main__":
    main()
