"""Person detectors beside each other: box AP and recall, false persons, reliability of the scores,
time.

    python benchmarks/detectors.py MODEL.onnx ... [--data ../shared/data] [--threads 2] [--save]

coco-val gives AP, recall and reliability; the photos of configs/empty_photos.txt (nobody in them,
kept out of our training; published detectors have seen them) give the false persons. AP is measured
from scores of 0.01 on; the counts of false persons at the scores of their columns. Reliability: of
the boxes with scores in a bin, which share hits a person at IoU 0.5.
"""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from record import show

from rmpe.detect import load_detector
from rmpe.evaluation.figures.box_recall import box_recall
from rmpe.evaluation.files.submissions import read_people
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.files import read_names
from rmpe.media.images import read_image

ROOT = Path(__file__).resolve().parent.parent
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
    """COCO records of all photos, and the median milliseconds a photo (decoding of the JPEG not counted)."""
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


def reliability(evaluation):
    """Rows: bin, how many boxes, their mean score, the share that hits a person; crowd regions are left out."""
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


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--data", default=ROOT.parent / "shared" / "data", type=click.Path(exists=True, path_type=Path)
)
@click.option("--threads", default=2, show_default=True)
@click.option("--save", is_flag=True, help="Record the tables for docs/results.md.")
def main(models, data, threads, save):
    people = read_people(data / "coco-val" / "annotations.json")
    empty = sorted(read_names(ROOT / "configs" / "empty_photos.txt"))
    rows, bins = [], []
    notes = f"ms: {threads} threads, letterboxing and suppression included. False persons: mean of {len(empty)} photos."
    for model in models:
        detector = load_detector(model, "cpu", threads)
        detector.card = replace(detector.card, score_threshold=LEAST, nms=OVERLAP)
        records, milliseconds = boxes_of(detector, people, data / "coco-val" / "images")
        evaluation = evaluate_coco(people, records, "bbox")
        figures = evaluation.figures | box_recall(people, evaluation)
        names = ("AP", "AP50", "AP75", "AP_small", "AR_max100", "recall50", "recall50_crowded")
        scores = [
            detector(read_image(data / "coco-train" / "images" / name)).scores for name in empty
        ]
        false = [float(np.mean([(found >= least).sum() for found in scores])) for least in FALSE_AT]
        name = detector.card.name + ", int8" * model.stem.endswith("_int8")
        rows.append(
            [
                name,
                "{}x{}".format(*detector.size),
                *(figures[key] for key in names),
                *false,
                milliseconds,
            ]
        )
        bins += [[name, *row] for row in reliability(evaluation)]
    tables = {
        "detectors": ("Person detectors", COLUMNS, rows),
        "detectors-reliability": (
            "Reliability of detectors' scores",
            ["detector", "score", "boxes", "mean score", "share that hits"],
            bins,
        ),
    }
    command = f"python benchmarks/detectors.py {' '.join(model.name for model in models)} --threads {threads}"
    for name, (title, columns, table) in tables.items():
        show(
            name,
            save=save,
            title=title,
            command=command,
            data="coco-val",
            columns=columns,
            rows=table,
            notes=notes,
        )


if __name__ == "__main__":
    main()
