"""How often must the detector run? Speed of the whole command and AP, on videos with known truth.

Every video goes through what ``rmpe track`` does: decode, detect or carry boxes, estimate, track,
draw, write. Between detections people are looked for in the boxes of their last poses: as they were
(usual: times 1.25), moved by optical flow, and moved and then corrected by the spatial transformer.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from record import ROOT, record
from sequences import COCO, cutouts, empty_photos, sequence
from tracking import frame as scored_frame

from rmpe.draw import draw_poses
from rmpe.evaluation.files.submissions import check_people, check_results
from rmpe.evaluation.matching import identity
from rmpe.evaluation.protocols import coco
from rmpe.media.video import Video
from rmpe.media.video_writer import VideoWriter
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
COLORS = {USUAL: "#c62828", FLOW: "#ffb300", SSTN: "#2e7d32"}
PLOT = ROOT / "docs" / "detect_interval.png"


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
    """What was found in every frame, frames a second, and in which share of the frames the detector ran."""
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
        total += identity.count_identities([scored_frame(*pair) for pair in pairs], COCO.sigmas)
        start += len(truth)
    return total.figures()["IDF1"]


def plot(rows, path):
    """AP against the share of frames without detection; a panel a number of people."""
    numbers = sorted({row[0] for row in rows})
    figure = Figure(figsize=(4.5 * len(numbers), 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(numbers), squeeze=False, sharey=True)[0]
    for axes, people in zip(panels, numbers, strict=True):
        for way, color in COLORS.items():
            mine = [row for row in rows if row[:2] == [people, way]]
            fixed = sorted((int(row[2]), row[5]) for row in mine if row[2] != "auto")
            axes.plot(*zip(*fixed, strict=True), "o-", color=color, label=way) if fixed else None
            for row in mine:
                if row[2] == "auto":
                    axes.plot(100 / row[4], row[5], "*", color=color, markersize=11)
        axes.set(xlabel="detector runs on every N-th frame (star: auto)", title=f"{people} people")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("AP")
    panels[0].legend(fontsize=8, title="boxes between detections", title_fontsize=8)
    figure.savefig(path)


def rows_of(actors, videos, arguments, folder):
    """A row for every way and interval, printed as it comes."""
    truth = [poses for _, many in videos for poses in many]
    for stn in [None, arguments.stn] if arguments.stn else [None]:
        estimator = load(arguments.detector, arguments.pose, stn=stn)
        for every in arguments.every:
            ways = [SSTN] if stn else [USUAL, FLOW]
            for number, way in enumerate(ways):
                if (
                    every != "1" or number == 0
                ):  # with a detection on every frame nothing is carried
                    found, speed, detected = run(
                        estimator,
                        videos,
                        every if every == "auto" else int(every),
                        CARRY[way],
                        folder,
                    )
                    figures = average_precision(truth, found)
                same = identities(videos, found)
                row = [
                    actors,
                    way,
                    every,
                    speed,
                    100 * detected,
                    100 * figures["AP"],
                    100 * figures["AP50"],
                    same,
                ]
                print(
                    *(f"{cell:.1f}" if isinstance(cell, float) else cell for cell in row),
                    sep="\t",
                    flush=True,
                )
                yield row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--detector", help="left out: the models that ship")
    parser.add_argument("--pose")
    parser.add_argument("--stn", help="also measure with this spatial transformer")
    parser.add_argument("--people", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--every", nargs="+", default=["1", "5", "10", "auto"])
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument(
        "--save", action="store_true", help=f"record the table and draw {PLOT.relative_to(ROOT)}"
    )
    arguments = parser.parse_args()
    rows = []
    people = cutouts(arguments.data / "coco-val", 180, 60, 0)
    backgrounds = empty_photos(arguments.data / "coco-train", 30)
    print(*COLUMNS, sep="\t")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for actors in arguments.people:
            videos = []
            for seed in range(200, 200 + arguments.videos):
                path = folder / f"{actors}_{seed}.mp4"
                truth = make_video(
                    path, people, backgrounds, seed, actors, arguments.fps, arguments.seconds
                )
                videos.append((path, truth))
            rows += rows_of(actors, videos, arguments, folder)
    if arguments.save:
        plot(rows, PLOT)
        record(
            "detect-interval",
            title="Detecting only now and then",
            command="python benchmarks/detect_interval.py " + " ".join(sys.argv[1:]),
            data=f"{arguments.videos} videos of {arguments.seconds:g} s, {arguments.fps} frames a second, 1280x720, "
            "made from coco-val people",
            columns=COLUMNS,
            rows=rows,
            notes="Frames/s of decoding, estimating, tracking, drawing and encoding together. Cut-out people move as "
            "stiff boards, so a box moves with them better than in real video; who comes between two detections is not "
            "found before the next, which costs AP the more the larger N is.",
        )


if __name__ == "__main__":
    main()
