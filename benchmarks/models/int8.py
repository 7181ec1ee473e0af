"""What int8 costs in AP: a trained pose model, alone or behind a trained STN, in fp32 and int8.

CHECKPOINT is a pose model, ``--stn`` a localisation net to stand before it. True boxes of coco-val,
score 1, no pose NMS. int8 is calibrated on crops of coco-more, never of coco-val. Differences are
paired over photos.
"""

import tempfile
from pathlib import Path

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, interval, targets
from benchmarks.record import show
from benchmarks.single_person import estimate_all, estimator, score
from rmpe.ablation.runs import header
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import read_people
from rmpe.export import export_checkpoint, export_int8

COLUMNS = ["pose estimator", "AP", "mean OKS", "AP, int8 less fp32", "OKS, int8 less fp32"]
COLUMNS += ["CPU ms a person"]


def precisions(checkpoint: Path, name: str, out: Path, train: Path, people: int) -> dict[str, Path]:
    """One part of a checkpoint's export, by precision."""
    files = {file.name: file for file in export_checkpoint(checkpoint, out)}
    file = files[name]
    small = file.with_stem(file.stem + "_int8")
    export_int8(file, train / "annotations.json", train / "images", small, people)
    return {"fp32": file, "int8": small}


@benchmark("data", "save")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--stn", type=click.Path(exists=True, path_type=Path), help="Its checkpoint.")
@click.option("--calibrate", default=256, show_default=True, help="People to calibrate with.")
def main(data, checkpoint, stn, calibrate, save):
    val = folder(data)
    train = folder(data, "coco-more")
    people = read_people(val / "annotations.json")
    boxes = [
        {"image_id": one["image_id"], "bbox": one["bbox"], "score": 1.0} for one in targets(people)
    ]
    every = np.ones(len(people.images))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        poses = precisions(checkpoint, "sppe.onnx", out / "pose", train, calibrate)
        ways = {"alone": dict.fromkeys(poses)}
        if stn:
            ways["behind the STN"] = precisions(stn, "stn.onnx", out / "stn", train, calibrate)
        for way, before in ways.items():
            results = {
                precision: estimate_all(
                    estimator(pose, before[precision]), people, val / "images", boxes
                )
                for precision, pose in poses.items()
            }
            scores = {precision: score(people, found) for precision, (found, _) in results.items()}
            for precision, own in scores.items():
                pairs = [(own.ap, scores["fp32"].ap), (own.oks, scores["fp32"].oks)]
                gaps = [interval(compare(*pair, len(people.images))) for pair in pairs]
                cells = gaps if precision == "int8" else ["", ""]
                figures = [100 * own.ap(every), 100 * own.oks(every)]
                rows.append([f"{way}, {precision}", *figures, *cells, results[precision][1]])
    height, width = header(checkpoint)["size"]
    show(
        "int8-ap",
        save=save,
        title="int8: what it costs in AP",
        data=f"coco-val, {len(boxes)} people in true boxes, crops {height}x{width}",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Static quantisation, calibrated on {calibrate} people of coco-more, as what"
            " ships is. Differences have 95 % bootstrap intervals, paired over"
            " photos. The time is CPU time of one thread and includes crops and decoding."
        ),
    )


if __name__ == "__main__":
    main()
