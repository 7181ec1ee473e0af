"""Person detectors side by side: box AP and recall, false persons, reliability of scores, time.

MODELS are ONNX files; left out, they are YOLOX-nano and the detector that ships. coco-val gives AP,
recall and reliability; the photos of configs/empty_photos.txt give the false persons (nobody is in
them; our training never saw them, published detectors have). AP counts scores from 0.01 on; a false
person counts from the score of its column on. Reliability: of the boxes with scores in a bin, the
share that hits a person at IoU 0.5.
"""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder as set_folder
from benchmarks.record import ROOT, show
from rmpe.detect import load_detector
from rmpe.evaluation.figures.box_recall import box_recall
from rmpe.evaluation.files.submissions import read_people
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.files import read_names
from rmpe.media.images import read_image
from rmpe.models import resolve_model

LEAST, OVERLAP, MOST = 0.01, 0.65, 100
FALSE_AT = (0.05, 0.3, 0.5)
BINS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COLUMNS = [
    "detector",
    "input",
    "AP",
    "AP50",
    "AP75",
    "AP small",
    "AR",
    "recall50",
    "recall50 crowded",
]
COLUMNS += [*(f"false at {score}" for score in FALSE_AT), "ms"]


def boxes_of(detector, people, folder):
    """COCO records of all photos, and the median milliseconds a photo, JPEG decoding left out."""
    records, times = [], []
    for image in people.images:
        pixels = read_image(folder / image["file_name"])
        start = time.perf_counter()
        found = detector(pixels)[:MOST]
        times.append(time.perf_counter() - start)
        sides = np.concatenate([found.xyxy[:, :2], found.sides], axis=1)
        records += [
            {
                "image_id": image["id"],
                "category_id": people.category_id,
                "bbox": box,
                "score": score,
            }
            for box, score in zip(sides.tolist(), found.scores.tolist(), strict=True)
        ]
    return records, 1000 * float(np.median(times))


def scores_of_nobody(detector, data):
    """The scores of the boxes in each photo that has nobody in it."""
    photos = set_folder(data, "coco-train") / "images"
    empty = sorted(read_names(ROOT / "configs" / "empty_photos.txt"))
    return [detector(read_image(photos / name)).scores for name in empty]


def reliability(evaluation):
    """Rows of bin, boxes, mean score and share that hits a person; crowd regions are left out."""
    ranked = evaluation.ranked["all"]
    counted, hits, rows = ranked.counted[0], ranked.hits[0], []
    for low, high in pairwise(BINS):
        members = counted & (ranked.scores >= low) & ((ranked.scores < high) | (high == BINS[-1]))
        if members.any():
            means = float(ranked.scores[members].mean()), float(hits[members].mean())
            rows.append([f"{low}-{high}", int(members.sum()), *means])
    weights = np.array([row[1] for row in rows])
    gaps = np.array([abs(row[2] - row[3]) for row in rows])
    return [
        *rows,
        [
            "expected calibration error",
            int(weights.sum()),
            None,
            float((weights * gaps).sum() / weights.sum()),
        ],
    ]


@benchmark("data", "threads", "save")
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
def main(data, models, threads, save):
    models = models or (data / "models" / "yolox_nano.onnx", resolve_model(None, "detector"))
    val = set_folder(data)
    people = read_people(val / "annotations.json")
    rows, bins = [], []
    for model in models:
        detector = load_detector(model, "cpu", threads)
        detector.card = replace(detector.card, score_threshold=LEAST, nms=OVERLAP)
        records, milliseconds = boxes_of(detector, people, val / "images")
        evaluation = evaluate_coco(people, records, "bbox")
        figures = evaluation.figures | box_recall(people, evaluation)
        names = ("AP", "AP50", "AP75", "AP_small", "AR_max100", "recall50", "recall50_crowded")
        scores = scores_of_nobody(detector, data)
        false = [float(np.mean([(found >= least).sum() for found in scores])) for least in FALSE_AT]
        name = detector.card.name + ", int8" * model.stem.endswith("_int8")
        size = "{}x{}".format(*detector.size)
        rows.append([name, size, *(figures[key] for key in names), *false, milliseconds])
        bins += [[name, *row] for row in reliability(evaluation)]
    show(
        "detectors",
        save=save,
        title="Person detectors",
        data="coco-val",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"The time is that of {threads} threads and includes letterboxing and box NMS. False"
            f" persons are means over {len(scores)} photos with nobody in them."
        ),
    )
    show(
        "detectors-reliability",
        save=save,
        title="Reliability of detectors' scores",
        data="coco-val",
        columns=["detector", "score", "boxes", "mean score", "share that hits"],
        rows=bins,
        notes=(
            "A box hits if its IoU with a person is 0.5 or more; boxes in crowd regions are left"
            " out."
        ),
    )


if __name__ == "__main__":
    main()
