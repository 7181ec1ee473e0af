"""Speed of the models that ship, beside yolox_nano + TinyPose in the same run.

    python benchmarks/default_speed.py [--threads 2] [--save]

Every photo is detected, then exactly n people are estimated in it: its true boxes, again and again
if there are fewer. Photos are in memory; nothing is drawn or written. The command's cold start is
that of ``rmpe predict`` on one photo.
"""

import os
import subprocess
import sys
import tempfile
import time

import click
import numpy as np
from default_models import VAL, given_boxes
from record import DATA, ROOT, record

from rmpe.boxes import Boxes
from rmpe.evaluation.files.submissions import read_people
from rmpe.media.images import read_image
from rmpe.models import default_model
from rmpe.options import load

TEACHERS = DATA / "models"
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
    """Milliseconds (medians over photos): each one's detector, and for each number of people all
    that follows.

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
    best, peak = float("inf"), 0
    for _ in range(3):
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            command = [
                sys.executable,
                "-m",
                "rmpe",
                "predict",
                str(PICTURE),
                "--out",
                out,
                "--quiet",
                *options,
            ]
            process = subprocess.Popen(command)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise click.ClickException(f"{' '.join(command)} failed with status {status}")
            best, peak = min(best, time.perf_counter() - started), max(peak, usage.ru_maxrss)
    return best, peak / (1024 if sys.platform != "darwin" else 1024**2)


@click.command()
@click.option("--threads", default=2, show_default=True)
@click.option("--photos", "count", default=40, show_default=True)
@click.option("--save", is_flag=True)
def default_speed(threads, count, save):
    rival = (TEACHERS / "yolox_nano.onnx", TEACHERS / "tinypose_256x192.onnx")
    ways = {"the models that ship": ((None, None), None), "yolox_nano + TinyPose": (rival, None)}
    if stn := default_model("stn"):
        ways["the models that ship, with the STN"] = ((None, None), stn)
    starts = []  # before anything is loaded here: a child's peak memory counts its parent's at the fork
    for models, transformer in ways.values():
        options = [
            f"--{kind}={file}"
            for kind, file in zip(("detector", "pose"), models, strict=True)
            if file
        ]
        starts.append(cold_start([*options, *([f"--stn={transformer}"] if transformer else [])]))
    people = read_people(VAL / "annotations.json")
    names = {image["id"]: image["file_name"] for image in people.images}
    boxes = given_boxes(people, [a for a in people.annotations if not a["iscrowd"]])
    some = [(index, found) for index, found in enumerate(boxes) if len(found)][:count]
    photos = [
        (read_image(VAL / "images" / names[people.image_ids[index]]), found)
        for index, found in some
    ]
    estimators = [
        load(*models, stn=stn, threads=threads, min_score=0) for models, stn in ways.values()
    ]
    stages(estimators, photos[:3])
    rows = []
    for name, (detect, *after), start in zip(ways, stages(estimators, photos), starts, strict=True):
        a_person = (after[-1] - after[0]) / (PEOPLE[-1] - PEOPLE[0])
        rows.append([name, *(1000 / (detect + one) for one in after), detect, a_person, *start])
        click.echo(
            "  ".join(
                f"{cell:.2f}" if isinstance(cell, float) else f"{cell:<36}" for cell in rows[-1]
            )
        )
    if save:
        columns = [
            "models",
            *(f"images/s, {n} people" for n in PEOPLE),
            "detector ms",
            "ms a further person",
        ]
        record(
            "default-speed",
            title="Speed of the models that ship",
            command="python benchmarks/default_speed.py --save",
            data=f"coco-val, {len(photos)} photos; cold start: examples/{PICTURE.name}",
            columns=[*columns, "cold start s", "peak MB"],
            rows=rows,
            notes=f"{threads} threads, one photo at a time, all rows in turn for each photo, medians. The rivals' pose "
            "model sees 256x192.",
        )


if __name__ == "__main__":
    default_speed()
