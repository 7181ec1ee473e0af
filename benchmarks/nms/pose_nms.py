"""What pose NMS is worth in AP on redundant proposals, and how long it takes.

AP: boxes of YOLOX-nano from score 0.02 on, thinned out only at IoU 0.9; poses of TinyPose;
intervals paired over photos. The poses before NMS are kept in ``runs/pose_nms`` as COCO results, as
``rmpe learn nms`` takes them; ``--fresh`` makes them anew.

Time: 5 to 200 candidates of 17 joints on one thread. "crowd" has five poses of each person, people
side by side; in "heap" all candidates overlap, half of them poses of one person, so that every pair
must be looked at. The authors' times are those they published for their current code, best case, on
one thread of another 2-core server.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy is loaded

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder
from benchmarks.record import ROOT, show
from rmpe.boxes import Boxes, box_nms
from rmpe.detect import load_detector
from rmpe.estimate.pose_model import load_pose_model
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import People, check_results, read_people
from rmpe.evaluation.matching.ranked import Ranked
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.learn.flat_matching import Truths
from rmpe.learn.nms import learn_nms, read_candidates
from rmpe.pipeline import Estimator
from rmpe.poses import Poses
from rmpe.skeletons import load_skeleton
from rmpe.streaming import stream
from rmpe.suppress import SUPPRESSORS, PoseNmsParameters, parametric_nms

RUNS = ROOT / "runs" / "pose_nms"
SKELETON = load_skeleton("coco17")
METHODS: dict[str, Callable[[Poses], Poses]] = {
    "none": SUPPRESSORS["none"],
    "box NMS 0.6": lambda poses: poses[box_nms(Boxes(poses.boxes, poses.scores), 0.6)],
    "OKS-NMS 0.9": SUPPRESSORS["oks"],
    "soft OKS-NMS": SUPPRESSORS["soft-oks"],
    "authors' release 2016": SUPPRESSORS["rmpe2016"],
    "authors' later release": SUPPRESSORS["alphapose"],
    "parametric, without merging": lambda poses: parametric_nms(
        poses, PoseNmsParameters(merge=0.0)
    ),
    "parametric (ours)": parametric_nms,
}
COUNTS = (5, 20, 50, 200)
AUTHORS_MS = {50: 17.0, 200: 70.0}
TIMED = {"parametric": "ours", "oks": "OKS-NMS", "rmpe2016": "2016 rule, our code"}


def make_candidates(data: Path, split: str, people: People, out: Path) -> None:
    """Write the poses before NMS of every photo as COCO results."""
    detector = load_detector(data / "models/yolox_nano.onnx", "cpu", 1)
    detector.card = replace(detector.card, score_threshold=0.02, nms=0.9, voters=0)
    pose = load_pose_model(data / "models/tinypose_256x192.onnx", "cpu", 1)
    estimator = Estimator(detector, pose, suppress=SUPPRESSORS["none"], limit=1000, workers=2)
    paths = [folder(data, split) / "images" / image["file_name"] for image in people.images]
    found = []
    for image, result in zip(people.images, stream(estimator, paths), strict=True):
        if result.poses is None:
            raise SystemExit(f"{result.path}: {result.error}")
        found += result.poses.to_coco(image["id"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found), "utf-8")


def complete(people: People) -> People:
    """Only photos whose annotations are complete, where the file says which are."""
    images = [image for image in people.images if image.get("annotation", "official") == "official"]
    ids = {image["id"] for image in images}
    return replace(
        people, images=images, annotations=[a for a in people.annotations if a["image_id"] in ids]
    )


def measure(people: People, per_photo: list[Poses]) -> Ranked:
    results = [
        person
        for image_id, poses in zip(people.image_ids, per_photo, strict=True)
        for person in poses.to_coco(image_id)
    ]
    return evaluate_coco(people, check_results(results, people, "keypoints")[0]).ranked["all"]


def only_boxes(poses: Poses) -> Poses:
    return poses[box_nms(Boxes(poses.boxes, poses.scores), 0.6)]


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
    """Median processor time, which other processes disturb least, after a few calls to warm up."""
    for _ in range(5):
        call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return 1000 * float(np.median(times))


def accuracy(data: Path, split: str, fresh: bool, save: bool) -> None:
    people = complete(read_people(folder(data, split) / "annotations.json"))
    cache = RUNS / f"{split}.json"
    if fresh or not cache.exists():
        make_candidates(data, split, people, cache)
        content = {
            "images": people.images,
            "annotations": people.annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        (RUNS / f"{split}-annotations.json").write_text(json.dumps(content), "utf-8")
    candidates = read_candidates(cache, people, SKELETON)
    truths = Truths.from_coco(people.annotations, people.image_ids, SKELETON)
    learned = learn_nms(candidates, truths)
    by_fold = [learned.folds[index] for index in learned.fold]
    matches = {
        name: measure(people, [method(poses) for poses in candidates])
        for name, method in METHODS.items()
    }
    pairs = zip(candidates, by_fold, strict=True)
    matches["parametric, learned (5 folds)"] = measure(
        people, [parametric_nms(poses, found) for poses, found in pairs]
    )
    ours = matches["parametric (ours)"]
    rows = []
    for name, ranked in matches.items():
        against = compare(ours.coco_ap, ranked.coco_ap, len(people.images))
        low, high = 100 * against.low, 100 * against.high
        between = "" if ranked is ours else f"{low:+.2f} .. {high:+.2f}"
        rows.append([name, 100 * against.second, 100 * against.difference, between])
    count = sum(map(len, candidates))
    values = ", ".join(f"{name} {value:g}" for name, value in asdict(learned.parameters).items())
    show(
        f"pose_nms_ap_{split}".replace("-", "_"),
        save=save,
        title=f"Pose NMS on redundant proposals, {split}",
        data=(
            f"{split} ({len(people.images)} photos); YOLOX-nano (NMS 0.9, score >= 0.02), TinyPose"
        ),
        columns=["pose NMS", "AP", "ours - this", "95 % interval, paired by photo"],
        rows=rows,
        notes=(
            f"There are {count} poses before NMS. Learned on all photos, the parameters are"
            f" {values}."
        ),
    )


def cost(save: bool) -> None:
    rows = []
    for kind in ("crowd", "heap"):
        for count in COUNTS:
            poses = scene(kind, count)
            times = {
                name: milliseconds(lambda poses=poses, name=name: SUPPRESSORS[name](poses))
                for name in TIMED
            }
            authors = AUTHORS_MS.get(count)
            ratio = authors / times["parametric"] if authors else None
            left = len(SUPPRESSORS["parametric"](poses))
            rows.append([kind, count, left, *times.values(), authors, ratio])
    columns = ["scene", "candidates", "left", *(f"{name} (ms)" for name in TIMED.values())]
    show(
        "pose_nms_time",
        save=save,
        title="Pose NMS: milliseconds, one thread",
        data="synthetic poses of 17 joints",
        columns=[*columns, "authors (ms)", "authors / ours"],
        rows=rows,
        notes=(
            "Medians of processor time. The authors' times are published ones, of another 2-core"
            " server."
        ),
    )


@benchmark("data", "save")
@click.option("--only", type=click.Choice(["accuracy", "time"]), help="One of the two tables.")
@click.option("--split", default="coco-val", show_default=True, help="Photos of the first table.")
@click.option("--fresh", is_flag=True, help="Make the poses anew.")
def main(data, only, split, fresh, save):
    if only != "time":
        accuracy(data, split, fresh, save)
    if only != "accuracy":
        cost(save)


if __name__ == "__main__":
    main()
