"""Keypoint AP of the models that ship, with and without the STN, on several kinds of boxes.

The quicker pose model that ships stands beside the default one, and YOLOX-nano and TinyPose,
published models of the data folder. A photo is crowded if two of its people's boxes overlap by an
IoU of more than 0.1.
"""

import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, given_boxes, interval, targets, xyxy
from benchmarks.record import show
from rmpe.boxes import iou
from rmpe.detect import WholeImage, load_detector
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.figures.disturb import disturbed_boxes
from rmpe.evaluation.files.submissions import check_results, read_people
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.pipeline import Estimator
from rmpe.suppress import suppressor

CROWDED = 0.1
QUICKER = "pose-lite"
SIZES = ("AP50", "AP75", "AP_medium", "AP_large")
COLUMNS = ["boxes", "pose model", "STN", "AP", "+-", *SIZES, "AP sparse", "AP crowded"]
COLUMNS += ["gain with STN"]


def crowded(people):
    """Whether each image ``(images,)`` has two people who overlap."""
    found = []
    for image_id in people.image_ids:
        boxes = xyxy(
            [a for a in people.annotations if a["image_id"] == image_id and not a["iscrowd"]]
        )
        found.append(bool((np.triu(iou(boxes, boxes), 1) > CROWDED).any()))
    return np.array(found)


def run(people, images, boxes, pose, stn, nms):
    estimator = Estimator(WholeImage(), pose, stn, nms)
    results = []
    for image_id, image, found in zip(people.image_ids, images, boxes, strict=True):
        results += estimator.estimate(image, found).to_coco(image_id)
    return evaluate_coco(people, check_results(results, people, "keypoints")[0])


def plus_minus(figure, images):
    """Half the width of the 95 % bootstrap interval, in points."""
    spread = compare(figure, lambda _: 0.0, images)
    return 50 * (spread.high - spread.low)


@benchmark("data", "detector", "pose", "stn", "threads", "save")
def main(data, detector, pose, stn, threads, save):
    val = folder(data)
    people = read_people(val / "annotations.json")
    names = {image["id"]: image["file_name"] for image in people.images}
    images = [read_image(val / "images" / names[image_id]) for image_id in people.image_ids]
    published = data / "models"
    detectors = {
        "default detector": load_detector(resolve_model(detector, "detector"), threads=threads),
        "yolox_nano": load_detector(published / "yolox_nano.onnx", threads=threads),
    }
    poses = {
        "default pose": load_pose_model(resolve_model(pose, "pose"), threads=threads),
        QUICKER: load_pose_model(resolve_model(QUICKER, "pose"), threads=threads),
        "TinyPose": load_pose_model(published / "tinypose_256x192.onnx", threads=threads),
    }
    transformer = load_stn(resolve_model(stn, "stn"), threads=threads)
    proposals = {name: [detect(image) for image in images] for name, detect in detectors.items()}
    proposals |= {"true boxes": given_boxes(people, targets(people))}
    proposals |= {
        f"boxes of IoU {loose}": given_boxes(people, disturbed_boxes(people, loose))
        for loose in (0.7, 0.5)
    }
    crowd = crowded(people).astype(np.float64)
    rows = []
    for boxes_name, boxes in proposals.items():
        nms = suppressor("parametric" if boxes_name in detectors else "none")
        for pose_name, model in poses.items():
            if (boxes_name, pose_name) == ("default detector", "TinyPose"):
                continue  # thousands of unlikely boxes: minutes, and nobody's combination
            plain = run(people, images, boxes, model, None, nms)
            ways = {"no": plain, "yes": run(people, images, boxes, model, transformer, nms)}
            for way, measured in ways.items():
                figures = measured.figures
                ap = measured.ranked["all"].coco_ap
                row = [boxes_name, pose_name, way, 100 * figures["AP"], plus_minus(ap, len(images))]
                row += [100 * figures[name] for name in SIZES]
                row += [100 * ap(part) for part in (1 - crowd, crowd)]
                paired = compare(ap, plain.ranked["all"].coco_ap, len(images))
                rows.append([*row, interval(paired) if way == "yes" else ""])
                print(f"{boxes_name}, {pose_name}, STN {way}: AP {row[3]:.1f}", flush=True)
    show(
        "default-models",
        save=save,
        title="The models that ship",
        data=f"coco-val, {len(images)} photos, {int(crowd.sum())} of them crowded",
        columns=COLUMNS,
        rows=rows,
        notes=(
            "All poses count (`--min-score 0`). Poses from a detector's boxes go through parametric"
            " pose NMS; true and perturbed boxes all have score 1 and need none. The intervals are"
            " 95 % bootstrap intervals over photos, paired for the gain. A photo is crowded if two"
            " of its people's boxes overlap by an IoU of more than 0.1."
        ),
    )


if __name__ == "__main__":
    main()
