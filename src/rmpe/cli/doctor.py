"""``rmpe doctor``: what is installed, and does it work?"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
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
from rmpe.runtime import Device, available_devices, fastest_device, remember_fastest

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
ROUNDS = 8  # in which every device finds the people once
PICTURES = 100  # work over which the time to load the models is spread


@click.command()
@click.option("--detector", help="Test this detector (ONNX file).")
@click.option("--pose", help="Test this pose model (ONNX file).")
def doctor(detector: str | None, pose: str | None) -> None:
    """Show versions, extras, engines and models; test and time the pipeline on a made-up picture.

    What is clearly the fastest on this machine is noted, and `--device auto` uses it from then on.
    Models that are named here are only tested.
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
    estimators: dict[Device, Estimator] = {}
    loading: dict[Device, float] = {}
    for device in available_devices():
        try:
            started = time.perf_counter()
            estimator = load(detector, pose, device=device, min_score=0)
            people = _find_people(estimator, picture)  # the first picture warms up
        except RmpeError as error:
            click.echo(f"self-test: {device} failed: {error}")
            continue
        loading[device] = time.perf_counter() - started
        estimators[device] = estimator
        click.echo(f"self-test: ok, {people} pose on {device}")
    if "cpu" not in estimators:
        sys.exit(1)
    seconds = _timed(estimators, picture)
    times: dict[Device, list[float]] = {}
    for device, rounds in seconds.items():
        times[device] = [loading[device] / PICTURES + once for once in rounds]
        click.echo(
            f"{device}: {statistics.median(rounds) * 1000:.0f} ms a picture,"
            f" {loading[device]:.1f} s to load"
        )
    if detector or pose:
        return
    fastest = fastest_device(times)
    remember_fastest(fastest)
    click.echo(f"--device auto is now: {fastest}")


def _timed(
    estimators: Mapping[Device, Estimator], picture: NDArray[np.uint8]
) -> dict[Device, list[float]]:
    """Seconds that each device needs for a picture, one number a round."""
    seconds: dict[Device, list[float]] = {device: [] for device in estimators}
    for _ in range(ROUNDS):
        for device, estimator in estimators.items():
            started = time.perf_counter()
            _find_people(estimator, picture)
            seconds[device].append(time.perf_counter() - started)
    return seconds


def _find_people(estimator: Estimator, picture: NDArray[np.uint8]) -> int:
    """How many people a whole picture makes, after a look for people in it."""
    estimator(picture)
    return len(estimator.estimate(picture, Boxes.whole((picture.shape[0], picture.shape[1]))))


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
