"""What pose NMS is worth on redundant proposals: AP of every kind, with intervals paired by photo.

    python benchmarks/pose_nms_ap.py --data ../shared [--split coco-val] [--save]

Boxes of YOLOX-nano, thinned out only at IoU 0.9, from score 0.02 on; poses of PP-TinyPose. The
poses before NMS are kept in ``runs/pose_nms`` as COCO results, as ``rmpe learn nms`` takes them;
``--fresh`` makes them anew.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from record import record

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

RUNS = Path(__file__).resolve().parent.parent / "runs" / "pose_nms"
SKELETON = load_skeleton("coco17")


def make_candidates(root: Path, split: str, people: People, out: Path) -> None:
    """Write the poses before NMS of every photo as COCO results."""
    detector = load_detector(root / "models/yolox_nano.onnx", "cpu", 1)
    detector.card = replace(detector.card, score_threshold=0.02, nms=0.9)
    pose = load_pose_model(root / "models/tinypose_256x192.onnx", "cpu", 1)
    estimator = Estimator(detector, pose, suppress=SUPPRESSORS["none"], limit=1000, workers=2)
    paths = [root / "data" / split / "images" / image["file_name"] for image in people.images]
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--split", default="coco-val")
    parser.add_argument("--fresh", action="store_true", help="make the poses anew")
    parser.add_argument("--save", action="store_true", help="record the table for docs/results.md")
    arguments = parser.parse_args()

    people = complete(read_people(arguments.data / "data" / arguments.split / "annotations.json"))
    cache = RUNS / f"{arguments.split}.json"
    annotations = RUNS / f"{arguments.split}-annotations.json"
    if arguments.fresh or not cache.exists():
        make_candidates(arguments.data, arguments.split, people, cache)
        content = {
            "images": people.images,
            "annotations": people.annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        annotations.write_text(json.dumps(content), "utf-8")
    candidates = read_candidates(cache, people, SKELETON)
    learned = learn_nms(
        candidates, Truths.from_coco(people.annotations, people.image_ids, SKELETON)
    )
    by_fold = [learned.folds[index] for index in learned.fold]

    methods: dict[str, Callable[[Poses], Poses]] = {
        "none": SUPPRESSORS["none"],
        "box NMS 0.6": only_boxes,
        "OKS-NMS 0.9": SUPPRESSORS["oks"],
        "soft OKS-NMS": SUPPRESSORS["soft-oks"],
        "authors' release 2016": SUPPRESSORS["rmpe2016"],
        "authors' later release": SUPPRESSORS["alphapose"],
        "parametric, without merging": lambda poses: parametric_nms(
            poses, PoseNmsParameters(merge=0.0)
        ),
        "parametric (ours)": parametric_nms,
    }
    matches = {
        name: measure(people, [method(poses) for poses in candidates])
        for name, method in methods.items()
    }
    pairs = zip(candidates, by_fold, strict=True)
    matches["parametric, learned (5 folds)"] = measure(
        people, [parametric_nms(poses, found) for poses, found in pairs]
    )
    ours = matches["parametric (ours)"]
    rows = []
    for name, ranked in matches.items():
        against = compare(ours.coco_ap, ranked.coco_ap, len(people.images))
        interval = (
            "" if ranked is ours else f"{100 * against.low:+.2f} .. {100 * against.high:+.2f}"
        )
        rows.append(
            [name, round(100 * against.second, 2), round(100 * against.difference, 2), interval]
        )
        print(
            f"{name:32s} AP {rows[-1][1]:6.2f}   ours - this {rows[-1][2]:+6.2f}   {interval}",
            flush=True,
        )
    counts = f"{sum(map(len, candidates))} poses before NMS; learned on all photos: {asdict(learned.parameters)}"
    print(counts)
    if arguments.save:
        record(
            f"pose_nms_ap_{arguments.split}".replace("-", "_"),
            title=f"Pose NMS on redundant proposals, {arguments.split}",
            command=f"python benchmarks/pose_nms_ap.py --split {arguments.split} --save",
            data=f"{arguments.split} ({len(people.images)} photos); YOLOX-nano (NMS 0.9, score >= 0.02), PP-TinyPose",
            columns=["pose NMS", "AP", "ours - this", "95 % interval, paired by photo"],
            rows=rows,
            notes=counts,
        )


if __name__ == "__main__":
    main()
