"""``rmpe doctor``: what is installed, and does it work?"""

import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version

import click
import numpy as np
from numpy.typing import NDArray

from rmpe import __version__
from rmpe.boxes import Boxes
from rmpe.errors import RmpeError
from rmpe.extras import EXTRAS, install_command, missing_modules
from rmpe.models import default_model, installed_models
from rmpe.options import load
from rmpe.pipeline import Estimator
from rmpe.runtime import Device, available_devices, remember_times

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "av",
    "torch",
    "pycocotools",
    "hotcoco",
)
RUNS = 8  # of each device


@click.command()
@click.option("--detector", help="Test this detector (ONNX file).")
@click.option("--pose", help="Test this pose model (ONNX file).")
def doctor(detector: str | None, pose: str | None) -> None:
    """Show versions, extras, engines and models; test and time the pipeline on a made-up picture.

    What is fastest on this machine is noted, and `--device auto` uses it from then on.
    """
    import cv2
    import onnxruntime

    click.echo(f"rmpe {__version__}, Python {sys.version.split()[0]}, {platform.platform()}")
    for package in PACKAGES:
        click.echo(f"  {package:24} {_version(package)}")
    for extra in EXTRAS:
        click.echo(f"  {f'rmpe[{extra}]':24} {_state(extra)}")
    click.echo(f"cores {os.cpu_count()}, OpenCV threads {cv2.getNumThreads()}")
    click.echo(f"engine providers: {', '.join(onnxruntime.get_available_providers())}")
    if _version("onnxruntime") != "-" and _version("onnxruntime-gpu") != "-":
        click.echo(
            "warning: onnxruntime and onnxruntime-gpu overwrite each other; "
            "uninstall both, install one"
        )
    click.echo(f"models: {', '.join(installed_models()) or 'none installed'}")
    if not ((detector or default_model("detector")) and (pose or default_model("pose"))):
        click.echo("self-test: skipped, no models (name some with --detector and --pose)")
        return
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    times: dict[Device, float] = {}
    for device in available_devices():
        try:
            people, seconds = _timed(load(detector, pose, device=device, min_score=0), picture)
        except RmpeError as error:
            click.echo(f"self-test: {device} failed: {error}")
            continue
        times[device] = seconds
        click.echo(f"self-test: ok, {people} pose in {seconds * 1000:.0f} ms on {device}")
    if "cpu" not in times:
        sys.exit(1)
    click.echo(f"--device auto is now: {remember_times(times)}")


def _timed(estimator: Estimator, picture: NDArray[np.uint8]) -> tuple[int, float]:
    """How many people a whole picture makes, and the median time of finding them in seconds."""
    box = Boxes.whole((picture.shape[0], picture.shape[1]))
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        estimator(picture)
        people = estimator.estimate(picture, box)
        seconds.append(time.perf_counter() - started)
    return len(people), statistics.median(seconds[1:])  # the first one warms up


def _state(extra: str) -> str:
    """Whether an extra is installed, and what it lacks."""
    missing = missing_modules(extra)
    lacks = f"lacks {', '.join(missing)}: {install_command(extra)}"
    return lacks if missing else "installed"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
