"""The models that ship, in keypoint AP: by size and crowding, with and without STN, on several
detectors' boxes.

    python benchmarks/default_models.py [--detector M] [--pose M] [--stn M] [--teachers FOLDER]
    [--save]

Without arguments the models that ship are measured on coco-val. The rivals of the table
(yolox_nano, TinyPose) lie in FOLDER. Photos are crowded if two of their people's boxes overlap by
an IoU of more than 0.1.
"""

import os
from pathlib import Path

import click
import numpy as np
from record import DATA, record

from rmpe.boxes import Boxes, iou
from rmpe.detect import WholeImage, load_detector
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.figures.disturb import disturbed_boxes
from rmpe.evaluation.files.submissions import check_results, read_people
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.media.images import read_image
from rmpe.models import default_model, resolve_model
from rmpe.pipeline import Estimator
from rmpe.suppress import suppressor

VAL = DATA / "data" / "coco-val"
CROWDED = 0.1


def xyxy(records):
    boxes = np.array([record["bbox"] for record in records], np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def given_boxes(people, records):
    """Boxes an image from COCO records, all sure."""
    by_image = {image_id: [] for image_id in people.image_ids}
    for one in records:
        by_image[one["image_id"]].append(one)
    return [Boxes(xyxy(by_image[image_id])) for image_id in people.image_ids]


def crowded(people):
    """Whether an image ``(images,)`` has two people who overlap."""
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


@click.command()
@click.option("--detector")
@click.option("--pose")
@click.option("--stn")
@click.option("--teachers", type=click.Path(path_type=Path), default=DATA / "models")
@click.option("--save", is_flag=True)
def default_models(detector, pose, stn, teachers, save):
    threads = os.cpu_count() or 1
    people = read_people(VAL / "annotations.json")
    names = {image["id"]: image["file_name"] for image in people.images}
    images = [read_image(VAL / "images" / names[image_id]) for image_id in people.image_ids]
    detectors = {
        "default detector": load_detector(resolve_model(detector, "detector"), threads=threads),
        "yolox_nano": load_detector(teachers / "yolox_nano.onnx", threads=threads),
    }
    poses = {
        "default pose": load_pose_model(resolve_model(pose, "pose"), threads=threads),
        "TinyPose": load_pose_model(teachers / "tinypose_256x192.onnx", threads=threads),
    }
    transformer = (
        load_stn(resolve_model(stn, "stn"), threads=threads)
        if stn or default_model("stn")
        else None
    )
    true = [a for a in people.annotations if not a["iscrowd"] and a.get("num_keypoints", 0)]
    proposals = {name: [detect(image) for image in images] for name, detect in detectors.items()}
    proposals |= {"true boxes": given_boxes(people, true)}
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
            ways = {"no": plain}
            if transformer:
                ways["yes"] = run(people, images, boxes, model, transformer, nms)
            for way, measured in ways.items():
                figures, ap = measured.figures, measured.ranked["all"].coco_ap
                split = [100 * ap(part) for part in (1 - crowd, crowd)]
                gain = ""
                if way == "yes":
                    paired = compare(ap, plain.ranked["all"].coco_ap, len(images))
                    gain = f"{100 * paired.difference:+.1f} [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]"
                row = [boxes_name, pose_name, way, 100 * figures["AP"], plus_minus(ap, len(images))]
                row += [100 * figures[name] for name in ("AP50", "AP75", "AP_medium", "AP_large")]
                rows.append([*row, *split, gain])
                click.echo(
                    "  ".join(
                        f"{cell:.1f}" if isinstance(cell, float) else f"{cell:>16}"
                        for cell in rows[-1]
                    )
                )
    if save:
        columns = [
            "boxes",
            "pose model",
            "STN",
            "AP",
            "+-",
            "AP50",
            "AP75",
            "AP_medium",
            "AP_large",
            "AP sparse",
            "AP crowded",
        ]
        record(
            "default-models",
            title="The models that ship",
            command="python benchmarks/default_models.py --save",
            data=f"coco-val, {len(images)} photos, {int(crowd.sum())} of them crowded",
            columns=[*columns, "gain with STN"],
            rows=rows,
            notes="All poses count (--min-score 0); parametric pose NMS on detectors' boxes, none on true and disturbed"
            " ones, which all have score 1. +- and the gain: 95 % bootstrap intervals over photos, paired for the gain."
            " Crowded: photos in which two people's boxes overlap by an IoU of more than 0.1.",
        )


if __name__ == "__main__":
    default_models()
