"""Results of models on a benchmark's images, in the benchmark's results layout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from rmpe.boxes import Boxes
from rmpe.errors import DataError, ImageError
from rmpe.evaluation.files.mpii import MpiiPerson, read_mpii_people
from rmpe.evaluation.files.photos import SKELETONS, benchmark_images, existing_image, to_results
from rmpe.files import read_json
from rmpe.media.images import read_image
from rmpe.options import PipelineOptions
from rmpe.skeletons import load_skeleton
from rmpe.streaming import stream
from rmpe.tracking import PoseFlow

# MPII's ``scale`` is a person's height in units of 200 px; the usual crops are a quarter larger.
MPII_PIXELS = 250.0


def predict_results(
    protocol: str, annotations: Path, images: Path, pipeline: PipelineOptions, out: Path
) -> Path:
    """Run the models on the images that the annotations name and write the results.

    Args:
        protocol: Name of the benchmark.
        annotations: The benchmark's annotation file.
        images: Folder of its images.
        pipeline: The models.
        out: Results file to write.

    Returns:
        ``out``.

    Raises:
        RmpeError: If an image is missing, or a model cannot be used.
    """
    if annotations.is_dir() or annotations.suffix == ".npz":
        raise DataError(f"{annotations}: --images needs one annotation file that names its images")
    if protocol == "boxes":
        results = _boxes(annotations, images, pipeline)
    elif protocol == "pck":
        results = _single_people(annotations, images, pipeline)
    elif protocol == "posetrack":
        results = _tracks(annotations, images, pipeline)
    else:
        results = _poses(protocol, annotations, images, pipeline)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results), "utf-8")
    return out


def _poses(
    protocol: str, annotations: Path, images: Path, pipeline: PipelineOptions
) -> list[dict[str, Any]]:
    estimator = pipeline.load(workers=pipeline.cores)
    skeleton = load_skeleton(SKELETONS[protocol])
    files = benchmark_images(protocol, annotations, images)
    results = []
    with _progress() as progress:
        found = stream(estimator, files)
        for result in progress.track(found, total=len(files), description="images"):
            if result.poses is None:
                raise ImageError(result.error)
            results += to_results(result.poses, skeleton, files[result.path])
    return results


def _boxes(annotations: Path, images: Path, pipeline: PipelineOptions) -> list[dict[str, Any]]:
    detector = pipeline.load_detector(pipeline.cores)
    files = benchmark_images("boxes", annotations, images)
    results = []
    with _progress() as progress:
        for path, image in progress.track(files.items(), description="images"):
            found = detector(read_image(path), path.as_posix())
            xywh = found.xywh.astype(np.float64).round(3)
            results += [
                {"image_id": image, "category_id": 1, "bbox": box.tolist(), "score": float(score)}
                for box, score in zip(xywh, found.scores, strict=True)
            ]
    return results


def _single_people(
    annotations: Path, images: Path, pipeline: PipelineOptions
) -> list[dict[str, Any]]:
    """One prediction a person in the order of the annotations, from annotated centre and scale."""
    # Everybody is measured: no pose is too poor, and none is redundant.
    estimator = replace(pipeline, nms="none", min_score=0.0).load()
    skeleton = load_skeleton("mpii16")
    people = read_mpii_people(annotations)
    nobody = {"keypoints": [0.0] * 48}
    results = []
    with _progress() as progress:
        for person in progress.track(people, description="people"):
            image = read_image(existing_image(images, person.image))
            poses = estimator.estimate(image, Boxes([_box(person)])).to_skeleton(skeleton)
            results.append(poses.to_coco(0)[0] if len(poses) else nobody)
    return results


def _box(person: MpiiPerson) -> list[float]:
    x, y = person.center
    half = MPII_PIXELS * person.scale / 2
    if not np.isfinite([x, y]).all():
        raise DataError(f"{person.image}: a person has no 'center': PCKh with --images needs it")
    return [x - half, y - half, x + half, y + half]


def _tracks(annotations: Path, images: Path, pipeline: PipelineOptions) -> list[dict[str, Any]]:
    estimator = pipeline.load()
    skeleton = load_skeleton("posetrack15")
    labelled = [
        frame for frame in read_json(annotations)["images"] if frame.get("is_labeled", True)
    ]
    videos: dict[str, list[dict[str, Any]]] = {}
    for frame in sorted(labelled, key=lambda frame: frame.get("frame_id", frame["id"])):
        videos.setdefault(str(frame.get("vid_id", 0)), []).append(frame)
    results = []
    with _progress() as progress:
        task = progress.add_task("frames", total=len(labelled))
        for frames in videos.values():
            tracker = PoseFlow()
            waiting = []
            tracked = []
            for frame in frames:
                image = read_image(existing_image(images, frame["file_name"]))
                waiting.append(frame["id"])
                tracked += tracker.update(image, estimator(image))
                progress.advance(task)
            tracked += tracker.flush()
            for identity, poses in zip(waiting, tracked, strict=True):
                results += to_results(poses, skeleton, identity)
    return results


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal, transient=True)
