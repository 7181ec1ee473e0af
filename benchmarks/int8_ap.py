"""What int8 costs in AP: a trained pose estimator, alone or behind a trained STN, in fp32 and int8
on coco-val.

    python benchmarks/int8_ap.py runs/lite_cpu_distill/model.safetensors [--stn FILE] [--save]

True boxes, score 1, no pose NMS. int8 is calibrated on crops of coco-train, never of coco-val.
Differences are paired over photos.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from record import show
from sstn_proof import VAL, behind, estimate_all, estimator, interval, score

from rmpe.ablation.runs import header
from rmpe.cards import find_card
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import read_people
from rmpe.export import calibration_batches, export_checkpoint
from rmpe.quantise import quantise
from rmpe.runtime import Session

TRAIN = VAL.parent / "coco-train"
COLUMNS = [
    "pose estimator",
    "AP",
    "mean OKS",
    "AP, int8 less fp32",
    "OKS, int8 less fp32",
    "CPU ms a person",
]


def precisions(checkpoint: Path, name: str, out: Path, people: int) -> dict[str, Path]:
    """One part of a checkpoint's export, by precision."""
    files = {file.name: file for file in export_checkpoint(checkpoint, out)}
    file = files[name]
    batches = calibration_batches(
        TRAIN / "annotations.json", TRAIN / "images", find_card(Session(file)), people
    )
    return {"fp32": file, "int8": quantise(file, batches, file.with_stem(file.stem + "_int8"))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pose", type=Path, help="checkpoint of a pose estimator")
    parser.add_argument(
        "--stn", type=Path, help="checkpoint of a localisation net to stand before it"
    )
    parser.add_argument("--people", type=int, default=256, help="crops to calibrate with")
    parser.add_argument("--samples", type=int, default=1000, help="bootstrap draws")
    parser.add_argument("--save", action="store_true", help="keep the table in docs/results")
    options = parser.parse_args()
    people = read_people(VAL / "annotations.json")
    targets = [
        one for one in people.annotations if not one["iscrowd"] and one.get("num_keypoints", 0)
    ]
    boxes = [{"image_id": one["image_id"], "bbox": one["bbox"], "score": 1.0} for one in targets]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        poses = precisions(options.pose, "sppe.onnx", out / "pose", options.people)
        made = {"alone": lambda precision: estimator(poses[precision])}
        if options.stn:
            stns = precisions(options.stn, "stn.onnx", out / "stn", options.people)
            for precision, file in stns.items():  # where `behind` looks for it
                (out / precision).mkdir()
                file.rename(out / precision / "stn.onnx")
            made["behind the STN"] = lambda precision: behind(out / precision, poses[precision])
        for way, make in made.items():
            results = {
                precision: estimate_all(make(precision), people, boxes) for precision in poses
            }
            scores = {precision: score(people, found) for precision, (found, _) in results.items()}
            every = np.ones(len(people.images))
            for precision, own in scores.items():
                pairs = [(own.ap, scores["fp32"].ap), (own.oks, scores["fp32"].oks)]
                differences = [
                    interval(compare(*pair, len(people.images), options.samples)) for pair in pairs
                ]
                cells = differences if precision == "int8" else ["", ""]
                rows.append(
                    [
                        f"{way}, {precision}",
                        100 * own.ap(every),
                        100 * own.oks(every),
                        *cells,
                        results[precision][1],
                    ]
                )
    height, width = header(options.pose)["size"]
    behind_it = f" --stn {options.stn}" if options.stn else ""
    show(
        "int8-ap",
        save=options.save,
        title="int8: what it costs in AP",
        command=f"python benchmarks/int8_ap.py {options.pose}{behind_it} --save",
        data=f"coco-val, {len(boxes)} people in true boxes, crops {height}x{width}",
        columns=COLUMNS,
        rows=rows,
        notes=f"Static quantisation, calibrated on {options.people} people of coco-train; answering convolutions "
        "stay float. 95 % paired bootstrap intervals over photos. CPU time of one thread with crops and decoding.",
    )


if __name__ == "__main__":
    main()
