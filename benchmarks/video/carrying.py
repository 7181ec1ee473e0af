"""Ways to place boxes between two detections, run and judged alike in every kind of video."""

import hashlib
import pickle
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
import numpy as np

from benchmarks.people import interval
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.evaluation.protocols import coco
from rmpe.media.video import Video
from rmpe.models import resolve_model
from rmpe.options import load
from rmpe.runtime import sha256_of
from rmpe.tracking.interval import DetectionInterval, last_boxes, moved_boxes
from rmpe.video import follow, load_tracker

USUAL, FLOW, STN = "last pose times 1.25", "moved by flow", "moved by flow, SSTN"
CARRY = {USUAL: lambda poses, *_: last_boxes(poses), FLOW: moved_boxes, STN: moved_boxes}
# COCO's areas are those of outlines; this share of a box is a person, on average.
OUTLINE = 0.53
# Of the bootstrap: enough for ends of intervals to a tenth of their width.
SAMPLES = 400


CACHE = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that keeps what was found, so that a run that was stopped goes on.",
)


def kept(cache, compute, *name):
    """What ``compute`` gives, from the folder ``cache`` if it has been kept there under ``name``.

    Args:
        cache: None = nothing is kept.
        compute: Called without arguments.
        name: All that decides the result.
    """
    if cache is None:
        return compute()
    path = cache / ("_".join(map(str, name)).replace(" ", "-") + ".pkl")
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(compute()))
    return pickle.loads(path.read_bytes())


class Counted:
    """An estimator that counts its detections."""

    def __init__(self, estimator):
        self.estimator = estimator
        self.calls = 0

    def detector(self, image):
        self.calls += 1
        return self.estimator.detector(image)

    def estimate(self, image, boxes):
        return self.estimator.estimate(image, boxes)


class Beginning:
    """The first frames of a video, as `rmpe.video.follow` takes one; all if ``frames`` is None."""

    live = False

    def __init__(self, video, frames):
        self.video, self.frames = video, frames
        self.stop = video.stop

    def __iter__(self):
        return islice(self.video, self.frames)


@dataclass(frozen=True, eq=False)
class Run:
    """What one way found, frame by frame, its speed, and how often the detector ran."""

    found: list
    frames_a_second: float
    share_detected: float


def load_ways(detector, pose, stn):
    """The estimator without STN, and the one with it."""
    plain = load(detector, pose, stn="none", threads=1)
    behind = load(plain.detector, pose, stn=resolve_model(stn, "stn"), threads=1)
    return plain, behind


def models_of(estimators):
    """A name for the detector, pose model and STN of `load_ways`, by their contents."""
    plain, behind = estimators
    models = (plain.detector, plain.pose, behind.stn)
    hashes = "".join(sha256_of(Path(model.session.path)) for model in models)
    return hashlib.sha256(hashes.encode()).hexdigest()[:8]


def wanted(intervals):
    """(way, interval) of every row."""
    for every in intervals:
        for way in CARRY:
            # Where the last pose was is the plain baseline, for which one interval will do.
            if way != USUAL or every == "5":
                yield way, every


def run(estimators, paths, way, every, frames=None):
    """Follow everybody through videos, as ``rmpe track --no-draw`` does.

    Args:
        estimators: From `load_ways`.
        paths: The videos.
        way: How boxes are carried.
        every: Frames from one detection to the next, or ``auto``, as text.
        frames: How many frames of each video to read; None = all.
    """
    plain, behind = estimators
    estimator = Counted(behind if way == STN else plain)
    often = "auto" if every == "auto" else int(every)
    found = []
    # CPU time, because other programs may run beside this one.
    started = time.process_time()
    for path in paths:
        with Video(Path(path)) as video:
            some = Beginning(video, frames)
            rule = DetectionInterval(often, carry=CARRY[way])
            tracked = follow(estimator, some, load_tracker("poseflow", video.fps), interval=rule)
            found += [poses for _, poses in tracked]
    return Run(found, len(found) / (time.process_time() - started), estimator.calls / len(found))


def evaluate(truth, found, sure=None):
    """COCO's keypoint evaluation, a frame as an image.

    Args:
        truth: The people of every frame; joints of score 0 or without a place are not labelled.
        found: What is judged.
        sure: Of every frame, which people count, ``(N,)``; who else is found is neither right nor
            wrong. All people if None.
    """
    images = []
    annotations = []
    for image_id, people in enumerate(truth):
        images.append({"id": image_id, "width": 1280, "height": 720, "file_name": str(image_id)})
        counts = np.ones(len(people), bool) if sure is None else sure[image_id]
        rows = zip(people.to_coco(image_id), people.boxes.tolist(), counts, strict=True)
        for row, (x1, y1, x2, y2), counted in rows:
            joints = np.reshape(row["keypoints"], (17, 3))
            joints[:, 2] = 2 * (joints[:, 2] > 0)
            if not counted:  # what COCO ignores: a person without labelled joints
                joints[:] = 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": OUTLINE * (x2 - x1) * (y2 - y1),
                    "bbox": row["bbox"],
                    "keypoints": joints.ravel().tolist(),
                    "num_keypoints": int((joints[:, 2] > 0).sum()),
                }
            )
    skeleton = truth[0].skeleton
    categories = [{"id": 1, "name": "person", "keypoints": list(skeleton.joints)}]
    people = check_people({"images": images, "annotations": annotations, "categories": categories})
    results = [row for image_id, poses in enumerate(found) for row in poses.to_coco(image_id)]
    return coco.evaluate_coco(people, check_results(results, people, "keypoints")[0])


def difference(first, second, block):
    """AP of the first less that of the second, in points, with a 95 % interval.

    Frames that follow each other are alike, so the bootstrap draws blocks of frames.

    Args:
        first: From `evaluate`.
        second: From `evaluate`, of the same frames.
        block: Frames of a block. A shorter rest belongs to the last one.
    """
    frames = len(first.people.image_ids)
    blocks = max(1, frames // block)
    block_of = np.minimum(np.arange(frames) // block, blocks - 1)
    one, other = (each.ranked["all"] for each in (first, second))
    return interval(
        compare(
            lambda w: one.coco_ap(w[block_of]),
            lambda w: other.coco_ap(w[block_of]),
            blocks,
            SAMPLES,
        )
    )


def rows_of(runs, judged, block):
    """A row for every (way, interval): speed, AP, and AP's differences.

    Args:
        runs: {(way, interval): `Run`}.
        judged: {(way, interval): what `evaluate` says of it}.
        block: Frames of a block of the bootstrap.
    """
    for (way, every), what in runs.items():
        result = judged[way, every]
        whole = judged.get((FLOW if way == USUAL else way, "1"))
        less = difference(result, whole, block) if whole and every != "1" else ""
        gain = difference(result, judged[FLOW, every], block) if way != FLOW else ""
        speed = [what.frames_a_second, 100 * what.share_detected]
        ap = [100 * result.figures[name] for name in ("AP", "AP50")]
        yield [way, every, *speed, *ap, less, gain]


COLUMNS = [
    "boxes between",
    "detect every",
    "frames/s",
    "frames detected, %",
    "AP",
    "AP50",
    "against every frame",
    "against moved by flow",
]
NOTES = (
    "Frames a second are those of one second of CPU time, all threads together: decoding,"
    " detecting or carrying boxes, estimating and tracking, as `rmpe track --no-draw` does. The"
    " row with the STN is the default. Differences of AP in points,"
    " with 95 % intervals, paired: the bootstrap draws blocks of frames, as neighbours are alike."
)
