"""What each step of the photo pipeline brings, in keypoint AP, with paired bootstrap intervals.

    python benchmarks/photo_steps.py FOLDER --annotations FILE --detector M --pose M [--save]

Every person is run once a decoder on the widest set of proposals; the rows are subsets of these and
ways to score and suppress them, so that nothing but the step differs.
"""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from record import record

import rmpe
from rmpe.affine import apply, invert
from rmpe.boxes import box_nms
from rmpe.cards import find_card
from rmpe.detect.yolox import Yolox
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import PoseModel
from rmpe.estimate.score import pose_scores
from rmpe.evaluation.benchmarks import PROTOCOLS
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.files import read_json
from rmpe.poses import Poses
from rmpe.propose.regions import propose
from rmpe.runtime import Session
from rmpe.suppress import SUPPRESSORS

WIDEST = {"score_threshold": 0.02, "nms": 0.85}


@dataclass(frozen=True)
class Step:
    """One row: how people are proposed, decoded, scored and suppressed."""

    name: str
    decoder: str = "argmax"
    score: str = "product"
    threshold: float = 0.05
    nms: float = 0.6
    suppress: str = "none"


PLAIN = Step("plain: boxes from .05, box NMS .6, quarter offset, no pose NMS")
DARK = replace(PLAIN, name="+ DARK decoding", decoder="dark")
SCORE = replace(DARK, name="+ geometric mean of box and squared joint scores", score="geometric")
LOW = replace(SCORE, name="+ boxes from .02", threshold=0.02)
OURS = replace(LOW, name="+ parametric pose NMS (as shipped)", suppress="parametric")
STEPS = [
    (PLAIN, None),
    (DARK, PLAIN),
    (SCORE, DARK),
    (LOW, SCORE),
    (OURS, LOW),
    (replace(LOW, name="  or OKS-NMS instead", suppress="oks"), LOW),
    (replace(LOW, name="  or soft OKS-NMS instead", suppress="soft-oks"), LOW),
    (replace(OURS, name="+ flip test", decoder="dark, flip test"), OURS),
    (replace(OURS, name="+ more proposals: box NMS .85", nms=0.85), OURS),
    (replace(OURS, name="+ both", nms=0.85, decoder="dark, flip test"), OURS),
]


def look(image, detector, models):
    """All proposals of an image and, a decoder, their joints and joint scores."""
    boxes = propose(detector(image), image.shape[:2], 100)
    found = {}
    for name, model in models.items():
        image_to_crop = model.crop_maps(boxes.xyxy)
        points, scores = model(cut(image, image_to_crop, model.size))
        found[name] = (apply(invert(image_to_crop), points), scores)
    return boxes, found


def results(step, looked, skeleton):
    rows = []
    for image_id, (boxes, found) in looked.items():
        kept = box_nms(boxes, step.nms)
        kept = kept[boxes.scores[kept] >= step.threshold]
        points, joint_scores = (array[kept] for array in found[step.decoder])
        mean = joint_scores.mean(axis=1) if len(kept) else np.zeros(0)
        rule = {
            "product": boxes.scores[kept] * mean,
            "geometric": pose_scores(boxes.scores[kept], joint_scores),
        }
        poses = Poses(points, joint_scores, rule[step.score], boxes.xyxy[kept], skeleton)
        rows += SUPPRESSORS[step.suppress](poses).to_coco(image_id)
    return rows


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--annotations", type=click.Path(path_type=Path), required=True)
@click.option("--detector", required=True)
@click.option("--pose", required=True)
@click.option("--save", is_flag=True)
def photo_steps(folder, annotations, detector, pose, save):
    session = Session(detector)
    detect = Yolox(session, replace(find_card(session), **WIDEST))
    session = Session(pose)
    card = find_card(session)
    models = {
        "argmax": PoseModel(session, replace(card, decoder="argmax")),
        "dark": PoseModel(session, card),
        "dark, flip test": PoseModel(session, card, flip_test=True),
    }
    looked = {
        image["id"]: look(rmpe.read_image(folder / image["file_name"]), detect, models)
        for image in read_json(annotations)["images"]
    }
    measured, rows = {}, []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (step, base) in enumerate(STEPS):
            file = Path(scratch) / f"{number}.json"
            file.write_text(json.dumps(results(step, looked, models["dark"].skeleton)))
            measured[step] = PROTOCOLS["coco"](annotations, file)
            figures = measured[step].figures
            row = [step.name, *(round(figures[name], 4) for name in ("AP", "AP50", "AP75"))]
            if base:
                gain = compare(
                    measured[step].headline, measured[base].headline, measured[step].units
                )
                row += [round(gain.difference, 4), f"{gain.low:+.4f} to {gain.high:+.4f}"]
            rows.append([*row, *[None] * (6 - len(row))])
            click.echo("  ".join([f"{row[0]:<66}", *(f"{cell!s:>8}" for cell in row[1:])]))
    if save:
        record(
            "photo_steps",
            title="What each step of the photo pipeline brings",
            command=f"python benchmarks/photo_steps.py {folder} --annotations {annotations} --detector"
            f" {Path(detector).name} --pose {Path(pose).name} --save",
            data=f"{folder.parent.name}, {len(looked)} photos",
            columns=["step", "AP", "AP50", "AP75", "gain on the step before", "95 % interval"],
            rows=rows,
            notes="Rows with + add to the row before; the last two, and those with 'or', to the row named before them:"
            " flip test and more proposals add to the row as shipped. All poses count (--min-score 0).",
        )


if __name__ == "__main__":
    photo_steps()
