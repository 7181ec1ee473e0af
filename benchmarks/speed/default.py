"""Photos a second of the models that ship, beside YOLOX-nano and TinyPose, in the same run.

Every photo is detected, then exactly n people are estimated in it: its true boxes, repeated if
there are fewer. Photos are in memory; nothing is drawn or written. The cold start is that of
``rmpe predict`` on one photo.
"""

import os
import subprocess
import sys
import tempfile
import time

import click
import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, given_boxes
from benchmarks.record import ROOT, show
from rmpe.boxes import Boxes
from rmpe.evaluation.files.submissions import read_people
from rmpe.media.images import read_image
from rmpe.options import load

PEOPLE = (1, 3, 10)
PICTURE = ROOT / "examples" / "basketball1.png"


def repeated(boxes, people):
    """Exactly ``people`` boxes; the detector's scores fall, so that pose NMS has an order."""
    kept = boxes.xyxy[np.arange(people) % len(boxes)]
    return Boxes(kept, np.linspace(0.9, 0.5, people, dtype=np.float32))


def timed(function, *arguments):
    started = time.perf_counter()
    function(*arguments)
    return 1000 * (time.perf_counter() - started)


def stages(estimators, photos):
    """Milliseconds, medians over photos: the detector, and for each number of people all the rest.

    Photo after photo, all estimators in turn: a machine that is slower for a while is so for all of
    them.
    """
    times = [[[] for _ in range(1 + len(PEOPLE))] for _ in estimators]
    for image, boxes in photos:
        for estimator, (detect, *after) in zip(estimators, times, strict=True):
            detect.append(timed(estimator.detector, image))
            for people, taken in zip(PEOPLE, after, strict=True):
                taken.append(timed(estimator.estimate, image, repeated(boxes, people)))
    return [np.median(one, axis=1).tolist() for one in times]


def cold_start(options):
    """Seconds of the whole command, and its peak memory in MB."""
    best = float("inf")
    peak = 0
    for _ in range(3):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            command = [sys.executable, "-m", "rmpe", "predict", str(PICTURE), "--quiet"]
            command += ["--out", out, *options]
            process = subprocess.Popen(command)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise click.ClickException(f"{' '.join(command)} failed with status {status}")
            best = min(best, time.perf_counter() - started)
            peak = max(peak, usage.ru_maxrss)
    return best, peak / (1024 if sys.platform != "darwin" else 1024**2)


@benchmark("data", "detector", "pose", "stn", "threads", "save")
@click.option("--photos", "count", default=40, show_default=True)
def main(data, detector, pose, stn, threads, count, save):
    published = data / "models"
    rival = (published / "yolox_nano.onnx", published / "tinypose_256x192.onnx", None)
    ways = {
        "the models that ship": (detector, pose, stn),
        "yolox_nano + TinyPose": rival,
        "the models that ship, without the STN": (detector, pose, "none"),
        "the models that ship, pose-lite": (detector, "pose-lite", stn),
    }
    # Before anything is loaded here: a child's peak memory counts its parent's at the fork.
    starts = []
    for models in ways.values():
        named = zip(("detector", "pose", "stn"), models, strict=True)
        starts.append(cold_start([f"--{kind}={file}" for kind, file in named if file]))
    val = folder(data)
    people = read_people(val / "annotations.json")
    names = {image["id"]: image["file_name"] for image in people.images}
    boxes = given_boxes(people, [a for a in people.annotations if not a["iscrowd"]])
    some = [(index, found) for index, found in enumerate(boxes) if len(found)][:count]
    photos = [
        (read_image(val / "images" / names[people.image_ids[index]]), found)
        for index, found in some
    ]
    estimators = [
        load(detector, pose, stn=stn, threads=threads, min_score=0)
        for detector, pose, stn in ways.values()
    ]
    stages(estimators, photos[:3])
    rows = []
    for name, (detect, *after), start in zip(ways, stages(estimators, photos), starts, strict=True):
        a_person = (after[-1] - after[0]) / (PEOPLE[-1] - PEOPLE[0])
        rows.append([name, *(1000 / (detect + one) for one in after), detect, a_person, *start])
    sides = ["{}x{}".format(*estimator.pose.size) for estimator in estimators]
    columns = ["models", *(f"images/s, {n} people" for n in PEOPLE), "detector ms"]
    show(
        "default-speed",
        save=save,
        title="Speed of the models that ship",
        data=f"coco-val, {len(photos)} photos; cold start: examples/{PICTURE.name}",
        columns=[*columns, "ms a further person", "cold start s", "peak MB"],
        rows=rows,
        notes=(
            f"Medians on {threads} threads, one photo at a time; all rows take each photo in turn."
            f" The crops of the rows are {', '.join(sides)}. Photos are in memory and nothing is"
            " written; the cold start and the peak memory are those of `rmpe predict` on one photo."
        ),
    )


if __name__ == "__main__":
    main()
