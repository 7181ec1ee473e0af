"""How seldom may the detector run? Speed of the whole command and AP, on videos with known truth.

Every video goes through what ``rmpe track`` does: decode, detect or carry boxes, estimate, track,
draw, write. Between detections people are looked for around their last poses: where they were (the
extent of the joints times 1.25), moved by optical flow, and moved and then corrected by the STN.
"""

import tempfile
import time
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder as set_folder
from benchmarks.record import show
from benchmarks.video.sequences import COCO, cutouts, empty_photos, sequence
from benchmarks.video.trackers import scored
from rmpe.draw import draw_poses
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.evaluation.matching import identity
from rmpe.evaluation.protocols import coco
from rmpe.media.video import Video
from rmpe.media.video_writer import VideoWriter
from rmpe.models import resolve_model
from rmpe.options import load
from rmpe.tracking.interval import DetectionInterval, last_boxes, moved_boxes
from rmpe.video import follow, load_tracker

COLUMNS = [
    "people",
    "boxes between",
    "detect every",
    "frames/s",
    "frames detected, %",
    "AP",
    "AP50",
    "IDF1",
]
USUAL, FLOW, SSTN = "last pose times 1.25", "moved by flow", "moved by flow, SSTN"
CARRY = {USUAL: lambda poses, *_: last_boxes(poses), FLOW: moved_boxes, SSTN: moved_boxes}


class Counted:
    """An estimator whose detector counts its calls."""

    def __init__(self, estimator):
        self.estimator, self.calls = estimator, 0

    def detector(self, image):
        self.calls += 1
        return self.estimator.detector(image)

    def estimate(self, image, boxes):
        return self.estimator.estimate(image, boxes)


def make_video(path, people, backgrounds, seed, actors, fps, seconds):
    """A clip on disk and the truth of its frames."""
    truth = []
    with VideoWriter(path, fps=fps, crf=14) as writer:
        for index, item in enumerate(
            sequence(people, backgrounds, seed=seed, actors=actors, fps=fps, seconds=seconds)
        ):
            writer.write(item.image, index / fps)
            truth.append(item.truth)
    return truth


def run(estimator, videos, every, carry, folder):
    """What was found in every frame, frames a second, and the share of frames with a detection."""
    counted, seconds, found = Counted(estimator), 0.0, []
    for path, _ in videos:
        started = time.perf_counter()
        with Video(path) as video, VideoWriter(folder / "drawn.mp4", fps=video.fps) as writer:
            tracker = load_tracker("poseflow", video.fps)
            for frame, poses in follow(
                counted, video, tracker, interval=DetectionInterval(every, carry=carry)
            ):
                writer.write(
                    draw_poses(frame.image, poses[poses.track_ids >= 0], show_ids=True),
                    frame.seconds,
                )
                found.append(poses)
        seconds += time.perf_counter() - started
    return found, len(found) / seconds, counted.calls / len(found)


def average_precision(truth, found):
    """COCO keypoint figures."""
    images, annotations = [], []
    for image_id, people in enumerate(truth):
        images.append({"id": image_id, "width": 1280, "height": 720, "file_name": str(image_id)})
        for row, box in zip(people.to_coco(image_id), people.boxes.tolist(), strict=True):
            joints = np.reshape(row["keypoints"], (17, 3))
            joints[:, 2] = 2 * (joints[:, 2] > 0)
            area = 0.53 * (box[2] - box[0]) * (box[3] - box[1])
            person = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": 0,
                "area": area,
            }
            person |= {
                "keypoints": joints.ravel().tolist(),
                "num_keypoints": int((joints[:, 2] > 0).sum()),
            }
            annotations.append(person | {"bbox": row["bbox"]})
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}]
    people = check_people({"images": images, "annotations": annotations, "categories": categories})
    results = [row for image_id, poses in enumerate(found) for row in poses.to_coco(image_id)]
    return coco.evaluate_coco(people, check_results(results, people, "keypoints")[0]).figures


def identities(videos, found):
    """IDF1 over all videos."""
    total, start = identity.PeopleCounts(), 0
    for _, truth in videos:
        pairs = zip(truth, found[start : start + len(truth)], strict=True)
        total += identity.count_identities([scored(*pair) for pair in pairs], COCO.sigmas)
        start += len(truth)
    return total.figures()["IDF1"]


def rows_of(actors, videos, estimators, intervals, out):
    """A row for every way to carry boxes and every interval."""
    truth = [poses for _, many in videos for poses in many]
    for ways, estimator in estimators:
        for every in intervals:
            for number, way in enumerate(ways):
                # With a detection on every frame nothing is carried: the ways are one.
                if every != "1" or number == 0:
                    often = every if every == "auto" else int(every)
                    found, speed, detected = run(estimator, videos, often, CARRY[way], out)
                    figures = average_precision(truth, found)
                ap = [100 * figures[name] for name in ("AP", "AP50")]
                same = identities(videos, found)
                yield [actors, way, every, speed, 100 * detected, *ap, same]
                print(f"{actors} people, {way}, every {every}: AP {ap[0]:.1f}", flush=True)


@benchmark("data", "detector", "pose", "stn", "save")
@click.option("--people", type=int, multiple=True, default=[2, 6], show_default=True)
@click.option(
    "--every", multiple=True, default=["1", "5", "10", "auto"], show_default=True, help="Intervals."
)
@click.option("--videos", default=3, show_default=True)
@click.option("--fps", default=30, show_default=True)
@click.option("--seconds", default=2.0, show_default=True)
def main(data, detector, pose, stn, people, every, videos, fps, seconds, save):
    rows = []
    cut_out = cutouts(set_folder(data), 180, 60, 0)
    backgrounds = empty_photos(set_folder(data, "coco-train"), 30)
    estimators = [
        ([USUAL, FLOW], load(detector, pose, stn="none")),
        ([SSTN], load(detector, pose, stn=resolve_model(stn, "stn"))),
    ]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        for actors in people:
            made = []
            for seed in range(200, 200 + videos):
                path = out / f"{actors}_{seed}.mp4"
                truth = make_video(path, cut_out, backgrounds, seed, actors, fps, seconds)
                made.append((path, truth))
            rows += rows_of(actors, made, estimators, every, out)
    show(
        "detect-interval",
        save=save,
        title="Detecting only now and then",
        data=(
            f"{videos} videos of {seconds:g} s, {fps} frames a second, 1280x720, made from coco-val"
            " people"
        ),
        columns=COLUMNS,
        rows=rows,
        notes=(
            "Frames a second are those of decoding, estimating, tracking, drawing and encoding"
            " together. The cut-out people move as stiff boards, so a box moves with them better"
            " than in real video. Who comes between two detections is not found before the next"
            " one, which costs AP, the more the rarer the detections are."
        ),
    )


if __name__ == "__main__":
    main()
