"""When is a proposal good enough to be kept, and is a second look worth it? Chosen on dev photos.

Mean OKS against no STN on true boxes perturbed to IoU 1.0 .. 0.5, for several overlaps from which
the proposal is kept (`ModelCard.keep_overlap`), with one look at each person and with two
(`ModelCard.second_look`). The smallest overlap that keeps nine tenths of what the STN gains at IoU
.6 and .5, before both pose models, is the one on the card: it leaves most good boxes alone.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, interval
from benchmarks.record import ROOT, show
from benchmarks.single_person import estimate_all, estimator, score
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.figures.disturb import IOUS, disturbed_boxes
from rmpe.evaluation.files.submissions import read_people
from rmpe.files import read_names
from rmpe.models import resolve_model

OVERLAPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)


def dev_people(train):
    """coco-train's people in the photos that are in no training set."""
    people = read_people(train / "annotations.json")
    dev = read_names(ROOT / "configs" / "dev.txt")
    images = [image for image in people.images if image["file_name"] in dev]
    ids = {image["id"] for image in images}
    annotations = [person for person in people.annotations if person["image_id"] in ids]
    return replace(people, images=images, annotations=annotations)


@benchmark("data", "pose", "stn", "save")
def main(data, pose, stn, save):
    train = folder(data, "coco-train")
    people = dev_people(train)
    boxes = {iou: disturbed_boxes(people, iou) for iou in IOUS}
    own = resolve_model(pose, "pose")
    transformer = resolve_model(stn, "stn")
    rows = []
    for name, file in {own.stem: own, "TinyPose": data / "models/tinypose_256x192.onnx"}.items():
        alone = estimator(file)
        plain = {
            iou: estimate_all(alone, people, train / "images", some)[0]
            for iou, some in boxes.items()
        }
        behind = estimator(file, transformer)
        for overlap, twice in product(OVERLAPS, (False, True)):
            behind.stn.card = replace(behind.stn.card, keep_overlap=overlap, second_look=twice)
            cells = []
            for iou, some in boxes.items():
                found, _ = estimate_all(behind, people, train / "images", some)
                moved = np.mean(
                    [
                        a["keypoints"] != b["keypoints"]
                        for a, b in zip(found, plain[iou], strict=True)
                    ]
                )
                gain = compare(
                    score(people, found).oks, score(people, plain[iou]).oks, len(people.images)
                )
                cells.append(f"{interval(gain)}, {100 * moved:.0f} % moved")
            rows.append([name, overlap, "two" if twice else "one", *cells])
            print(*rows[-1], sep="; ", flush=True)
    show(
        "sstn-keep",
        save=save,
        title="Which proposals the STN leaves alone",
        data=f"{len(people.images)} dev photos of coco-train, {len(boxes[1.0])} people",
        columns=["pose model", "kept from overlap", "looks", *(f"IoU {iou}" for iou in IOUS)],
        rows=rows,
        notes=(
            "Mean OKS against no STN, in points, with 95 % bootstrap intervals paired over photos,"
            " and the share of the people whose box was moved. Two looks: at the proposal, too, and"
            " the answers are fused."
        ),
    )


if __name__ == "__main__":
    main()
