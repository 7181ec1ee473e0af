"""Images a second of `Estimator.stream` against a plain loop over people: same models, same cores,
same run.

    python benchmarks/throughput.py FOLDER --detector M --pose M [--threads 2] [--save]

The plain loop is what a user writes first: one image after the other, one person after the other,
    the engine's threads
on all cores. The rows between show what gives the gain: batches of people, whole images side by
side.
"""

import time
from pathlib import Path

import click
import cv2
import numpy as np
from record import show

import rmpe
from rmpe.affine import apply, invert
from rmpe.detect import load_detector
from rmpe.estimate.crops import cut
from rmpe.estimate.pose_model import load_pose_model
from rmpe.media.sources import find_images
from rmpe.propose.regions import propose


def plain_loop(paths, detector, pose, threads):
    """Detector, then one call of the pose model a person, all threads inside the engine; no pose NMS."""
    detect, estimate = (
        load_detector(detector, threads=threads),
        load_pose_model(pose, threads=threads),
    )
    started, people = time.perf_counter(), 0
    for path in paths:
        image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        for box in propose(detect(image), image.shape[:2], 100).xyxy:
            image_to_crop = estimate.crop_maps(box[None])
            points, _ = estimate(cut(image, image_to_crop, estimate.size))
            apply(invert(image_to_crop), points)
            people += 1
    return time.perf_counter() - started, people


def streamed(paths, detector, pose, **options):
    estimator = rmpe.load(detector, pose, nms="none", min_score=0, **options)
    started, people = time.perf_counter(), 0
    for result in rmpe.stream(estimator, paths):
        people += len(result.poses)
    return time.perf_counter() - started, people


@click.command()
@click.argument("folder")
@click.option("--detector", required=True)
@click.option("--pose", required=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--limit", default=100, show_default=True, help="Images.")
@click.option("--repeat", default=3, show_default=True, help="The fastest run counts.")
@click.option("--save", is_flag=True)
def throughput(folder, detector, pose, threads, limit, repeat, save):
    paths = [item.path for item in find_images([folder])][:limit]
    ways = {
        "plain loop over people": lambda: plain_loop(paths, detector, pose, threads),
        "batches of people": lambda: streamed(paths, detector, pose, threads=threads, workers=1),
        "images side by side, one person a call": lambda: streamed(
            paths, detector, pose, threads=threads, workers=threads, batch=1
        ),
        "both (rmpe predict)": lambda: streamed(
            paths, detector, pose, threads=threads, workers=threads
        ),
    }
    best = dict.fromkeys(ways, (np.inf, 0))
    for _ in range(repeat):  # rounds, so that a disturbance does not hit one way only
        for name, way in ways.items():
            best[name] = min(best[name], way())
    base = best["plain loop over people"][0]
    rows = [
        [name, round(len(paths) / seconds, 2), round(base / seconds, 2), people]
        for name, (seconds, people) in best.items()
    ]
    columns = ["way", "images/s", "times the plain loop", "people"]
    show(
        "throughput",
        save=save,
        title="Images a second, end to end",
        command=f"python benchmarks/throughput.py {folder} --detector {Path(detector).name}"
        f" --pose {Path(pose).name} --threads {threads} --limit {limit} --save",
        data=f"{Path(folder).parent.name}, {len(paths)} photos",
        columns=columns,
        rows=rows,
        notes=f"Fastest of {repeat} rounds; decoding included, nothing drawn or written.",
    )


if __name__ == "__main__":
    throughput()
