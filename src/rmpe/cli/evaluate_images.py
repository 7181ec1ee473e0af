"""Results of models on a benchmark's images, in the benchmark's results layout."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from rmpe.boxes import Boxes
from rmpe.detect import load_detector
from rmpe.errors import DataError, ImageError
from rmpe.evaluation.files.photos import SKELETONS, benchmark_images, existing_image, to_results
from rmpe.evaluation.protocols.mpii import MpiiPerson, read_people
from rmpe.files import read_json
from rmpe.media.images import read_image
from rmpe.models import resolve_model
from rmpe.pipeline import Estimator, load
from rmpe.poses import Poses
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.tracking import PoseFlow

# Weaker detections cost time and cannot raise AP by much.
MIN_SCORE = 0.02
# MPII's ``scale`` is a person's height in units of 200 px; the usual crops are a quarter larger.
MPII_PIXELS = 250.0


def predict_results(protocol: str, options: dict[str, Any], out: Path) -> Path:
    """Run the models on the images that the annotations name and write the results.

    Args:
        protocol: Name of the benchmark.
        options: Of the command: ``annotations``, ``images``, ``detector``, ``pose``, ``stn``,
            ``card``, ``nms``.
        out: Results file to write.

    Returns:
        ``out``.

    Raises:
        RmpeError: If an image is missing, or a model cannot be used.
    """
    if options["annotations"].is_dir() or options["annotations"].suffix == ".npz":
        raise DataError(
            f"{options['annotations']}: --images needs one annotation file that names its images"
        )
    if protocol == "boxes":
        results = _boxes(options)
    elif protocol == "pck":
        results = _single_people(options)
    elif protocol == "posetrack":
        results = _tracks(options)
    else:
        results = _poses(protocol, options)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results), "utf-8")
    return out


def _poses(protocol: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    estimator = _load(options)
    skeleton = load_skeleton(SKELETONS[protocol])
    files = benchmark_images(protocol, options["annotations"], options["images"])
    results = []
    with _progress() as progress:
        stream = progress.track(estimator.stream(files), total=len(files), description="images")
        for result in stream:
            if result.poses is None:
                raise ImageError(result.error)
            results += _written(result.poses, skeleton, files[result.path])
    return results


def _written(poses: Poses, skeleton: Skeleton, image: Any) -> list[dict[str, Any]]:
    return to_results(poses[poses.scores >= MIN_SCORE], skeleton, image)


def _boxes(options: dict[str, Any]) -> list[dict[str, Any]]:
    detector = load_detector(
        resolve_model(options["detector"], "detector"), "auto", os.cpu_count() or 1
    )
    files = benchmark_images("boxes", options["annotations"], options["images"])
    results = []
    with _progress() as progress:
        for path, image in progress.track(files.items(), description="images"):
            found = detector(read_image(path), path.as_posix())
            xywh = (
                np.concatenate([found.xyxy[:, :2], found.sides], axis=1).astype(np.float64).round(3)
            )
            results += [
                {"image_id": image, "category_id": 1, "bbox": box.tolist(), "score": float(score)}
                for box, score in zip(xywh, found.scores, strict=True)
            ]
    return results


def _single_people(options: dict[str, Any]) -> list[dict[str, Any]]:
    """One prediction a person, in the order of the annotations, from the annotated centre and scale."""
    estimator = _load(options | {"nms": "none"})
    skeleton = load_skeleton("mpii16")
    people = read_people(options["annotations"])
    nobody = {"keypoints": [0.0] * 48}
    results = []
    with _progress() as progress:
        for person in progress.track(people, description="people"):
            image = read_image(existing_image(options["images"], person.image))
            poses = estimator.estimate(image, Boxes([_box(person)])).to_skeleton(skeleton)
            results.append(poses.to_coco(0)[0] if len(poses) else nobody)
    return results


def _box(person: MpiiPerson) -> list[float]:
    (x, y) = person.center
    half = MPII_PIXELS * person.scale / 2
    if not np.isfinite([x, y]).all():
        raise DataError(f"{person.image}: a person has no 'center': PCKh with --images needs it")
    return [x - half, y - half, x + half, y + half]


def _tracks(options: dict[str, Any]) -> list[dict[str, Any]]:
    estimator = _load(options)
    skeleton = load_skeleton("posetrack15")
    images = [
        image
        for image in read_json(options["annotations"])["images"]
        if image.get("is_labeled", True)
    ]
    videos: dict[str, list[dict[str, Any]]] = {}
    for image in sorted(images, key=lambda image: image.get("frame_id", image["id"])):
        videos.setdefault(str(image.get("vid_id", 0)), []).append(image)
    results = []
    with _progress() as progress:
        task = progress.add_task("frames", total=len(images))
        for frames in videos.values():
            tracker = PoseFlow()
            waiting = []
            tracked = []
            for frame in frames:
                image = read_image(existing_image(options["images"], frame["file_name"]))
                waiting.append(frame["id"])
                tracked += tracker.update(image, estimator(image))
                progress.advance(task)
            tracked += tracker.flush()
            for identity, poses in zip(waiting, tracked, strict=True):
                results += _written(poses, skeleton, identity)
    return results


def _load(options: dict[str, Any]) -> Estimator:
    names = ("detector", "pose", "stn", "card", "nms")
    # AP wants the unlikely poses, too.
    return load(
        **{name: options[name] for name in names}, workers=os.cpu_count() or 1, min_score=0.0
    )


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal, transient=True)
