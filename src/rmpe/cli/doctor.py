"""``rmpe doctor``: what is installed, and does it work?"""

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version

import click
import numpy as np

from rmpe import __version__
from rmpe.boxes import Boxes
from rmpe.errors import RmpeError
from rmpe.models import default_model, installed_models
from rmpe.options import load

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "av",
    "torch",
    "pycocotools",
    "hotcoco",
)


@click.command()
@click.option("--detector", help="Test this detector (ONNX file).")
@click.option("--pose", help="Test this pose model (ONNX file).")
def doctor(detector: str | None, pose: str | None) -> None:
    """Show versions, engines, threads and models, and test the pipeline on a made-up picture."""
    import cv2
    import onnxruntime

    click.echo(f"rmpe {__version__}, Python {sys.version.split()[0]}, {platform.platform()}")
    for package in PACKAGES:
        click.echo(f"  {package:24} {_version(package)}")
    click.echo(f"cores {os.cpu_count()}, OpenCV threads {cv2.getNumThreads()}")
    click.echo(f"engine providers: {', '.join(onnxruntime.get_available_providers())}")
    if _version("onnxruntime") != "-" and _version("onnxruntime-gpu") != "-":
        click.echo(
            "warning: onnxruntime and onnxruntime-gpu overwrite each other; uninstall both, install one"
        )
    click.echo(f"models: {', '.join(installed_models()) or 'none installed'}")
    if not ((detector or default_model("detector")) and (pose or default_model("pose"))):
        click.echo("self-test: skipped, no models (name some with --detector and --pose)")
        return
    try:
        estimator = load(detector, pose)
        picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
        started = time.perf_counter()
        estimator(picture)
        people = estimator.estimate(picture, Boxes.whole((240, 320)))
    except RmpeError as error:
        click.echo(f"self-test: failed: {error}")
        sys.exit(1)
    click.echo(
        f"self-test: ok, {len(people)} pose in {(time.perf_counter() - started) * 1000:.0f} ms"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
