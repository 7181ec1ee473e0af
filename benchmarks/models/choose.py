"""Candidates for the models that ship, on the photos on which they are chosen.

``pose-hr=A.safetensors`` is a checkpoint in the place of the model that ships, in int8 as it would
ship; of several with commas between, it is the mean of the weights. ``@288x224`` at the end gives
it inputs of another height and width. The models that ship stand first; ``--voters 0`` adds them
with another number of boxes that score one of the detector's (`rmpe.boxes.vote`).

The photos of ``configs/dev.txt`` are in no training set. The others are training photos whose
people were labelled by hand, of which most of the training saw only a teacher's answers: they say
less, and are more. Poses are those of all defaults but the candidate.
"""

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from benchmarks.models import ship
from benchmarks.models.default import run
from benchmarks.models.detectors import LEAST, OVERLAP, boxes_of, scores_of_nobody
from benchmarks.options import benchmark
from benchmarks.people import folder, given_boxes, targets
from benchmarks.record import ROOT, show
from rmpe.detect import load_detector
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.evaluation.files.submissions import People, read_people_on
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.files import read_json, read_names
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.suppress import suppressor

SEED, TRAINING_PHOTOS = 20170, 600
# A false person counts from this score on.
FALSE_AT = 0.05
COLUMNS = ["candidate", "photos", "box AP", "box AP50", f"false at {FALSE_AT}"]
COLUMNS += ["AP, true boxes", "AP75", "AP, default boxes"]


def photo_sets(data: Path, scratch: Path) -> dict[str, People]:
    """People of the dev photos and of training photos, all of them officially annotated."""
    annotations = folder(data, "coco-train") / "annotations.json"
    dev = ROOT / "configs" / "dev.txt"
    official = [
        image["file_name"]
        for image in read_json(annotations)["images"]
        if image.get("annotation") == "official"
    ]
    others = sorted(set(official) - read_names(dev))
    some = scratch / "training.txt"
    some.write_text("\n".join(random.Random(SEED).sample(others, TRAINING_PHOTOS)), "utf-8")
    return {
        "dev": read_people_on(annotations, dev),
        "training": read_people_on(annotations, some),
    }


def boxes_and_figures(detector, people, data):
    """Boxes for poses, image by image; box AP, box AP50, and boxes a photo with nobody in it."""
    photos = folder(data, "coco-train") / "images"
    names = {image["id"]: image["file_name"] for image in people.images}
    boxes = [detector(read_image(photos / names[image_id])) for image_id in people.image_ids]
    own, detector.card = detector.card, replace(detector.card, score_threshold=LEAST, nms=OVERLAP)
    figures = evaluate_coco(people, boxes_of(detector, people, photos)[0], "bbox").figures
    scores = scores_of_nobody(detector, data)
    detector.card = own
    false = float(np.mean([(found >= FALSE_AT).sum() for found in scores]))
    return boxes, [100 * figures["AP"], 100 * figures["AP50"], false]


@benchmark("data", "threads")
@click.option("--voters", multiple=True, type=int, help="May be repeated.")
@click.argument("candidates", nargs=-1, metavar="[NAME=CHECKPOINT[@HxW]]...")
def main(data, candidates, voters, threads):
    photos = folder(data, "coco-train") / "images"
    stn = load_stn(resolve_model(None, "stn"), threads=threads)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        sets = photo_sets(data, Path(scratch))
        models = {"what ships": {}} | {f"{count} voters": {"voters": count} for count in voters}
        for place, argument in enumerate(candidates):
            name, _, checkpoints = argument.partition("=")
            out = Path(scratch) / str(place)
            out.mkdir()
            checkpoints, _, sides = checkpoints.partition("@")
            size = tuple(map(int, sides.split("x"))) if sides else None
            file = ship.quantised(name, ship.one_of(checkpoints, out), data, out, size)
            models[argument] = {"detector" if name.startswith("detector") else "pose": file}
        for which, people in sets.items():
            names = {image["id"]: image["file_name"] for image in people.images}
            images = [read_image(photos / names[image_id]) for image_id in people.image_ids]
            true_boxes = given_boxes(people, targets(people))
            found = {}  # detector and voters -> its boxes and figures
            for candidate, given in models.items():
                detector = resolve_model(given.get("detector"), "detector"), given.get("voters")
                if detector not in found:
                    loaded = load_detector(detector[0], threads=threads)
                    if detector[1] is not None:
                        loaded.card = replace(loaded.card, voters=detector[1])
                    found[detector] = boxes_and_figures(loaded, people, data)
                boxes, figures = found[detector]
                pose = load_pose_model(resolve_model(given.get("pose"), "pose"), threads=threads)
                true = run(people, images, true_boxes, pose, stn, suppressor("none")).figures
                default = run(people, images, boxes, pose, stn, suppressor("parametric")).figures
                poses = [100 * ap for ap in (true["AP"], true["AP75"], default["AP"])]
                rows.append([candidate, which, *figures, *poses])
                print(*rows[-1], flush=True)
    show(
        "candidates",
        save=False,
        title="Candidates for the models that ship",
        data="coco-train, officially annotated: configs/dev.txt, and photos of the training",
        columns=COLUMNS,
        rows=rows,
        notes="int8, with the STN. All poses count; default boxes go through parametric pose NMS.",
    )


if __name__ == "__main__":
    main()
