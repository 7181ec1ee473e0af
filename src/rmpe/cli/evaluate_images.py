"""Results of models on a benchmark's images, in the benchmark's results layout."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from rmpe.annotations.image_names import ImageFolder
from rmpe.atomic import check_writable, write_text
from rmpe.boxes import Boxes
from rmpe.errors import DataError, ImageError, UsageError
from rmpe.evaluation.files.mpii import MpiiPerson, read_mpii_people
from rmpe.evaluation.files.photos import (
    SKELETONS,
    benchmark_images,
    existing_image,
    person_id,
    to_results,
)
from rmpe.evaluation.files.posetrack import PoseTrackImage, parse_frames
from rmpe.evaluation.files.skeletons import benchmark_skeleton
from rmpe.evaluation.files.submissions import read_people as read_coco_people
from rmpe.files import read_json
from rmpe.media.images import read_image
from rmpe.one_stage import OneStageEstimator
from rmpe.options import PipelineOptions
from rmpe.skeletons import Skeleton, load_skeleton
from rmpe.streaming import stream
from rmpe.tracking import PoseFlow

# MPII's ``scale`` is a person's height in units of 200 px. The usual crops are a quarter larger,
# which is the model's own growth.
MPII_PIXELS = 200.0


def predict_results(
    protocol: str,
    annotations: Path,
    images: Path,
    pipeline: PipelineOptions,
    out: Path,
    skeleton: Skeleton | None = None,
) -> Skeleton | None:
    """Run the models on the images that the annotations name and write the results.

    Args:
        protocol: Name of the benchmark.
        annotations: The benchmark's annotation file.
        images: Folder of its images.
        pipeline: The models.
        out: Results file to write.
        skeleton: For ``coco``: the joints to measure, by default those of the annotations.

    Returns:
        For ``coco`` the joints of the results, else nothing.

    Raises:
        RmpeError: If an image is missing, a model cannot be used, or ``out`` cannot be written.
    """
    if protocol == "mot":
        raise UsageError(
            "rmpe evaluate mot measures tracks that are there: rmpe track --format mot writes them;"
            " give --results in place of --images"
        )
    if annotations.is_dir() or annotations.suffix == ".npz":
        raise DataError(f"{annotations}: --images needs one annotation file that names its images")
    check_writable(out)
    joints = None
    if protocol == "boxes":
        results = _boxes(annotations, images, pipeline)
    elif protocol == "pck":
        results = _single_people(annotations, images, pipeline)
    elif protocol == "posetrack":
        results = _tracks(annotations, images, pipeline)
    else:
        results, joints = _poses(protocol, annotations, images, pipeline, skeleton)
    write_text(out, json.dumps(results))
    return joints if protocol == "coco" else None


def _poses(
    protocol: str,
    annotations: Path,
    images: Path,
    pipeline: PipelineOptions,
    named: Skeleton | None,
) -> tuple[list[dict[str, Any]], Skeleton]:
    estimator = pipeline.load(workers=pipeline.cores)
    skeleton = load_skeleton(SKELETONS[protocol])
    if protocol == "coco":
        people = read_coco_people(annotations)
        skeleton, _ = benchmark_skeleton(people, str(annotations), named, estimator.skeleton)
    if np.all(estimator.skeleton.correspondence(skeleton) < 0):
        raise DataError(
            f"{annotations}: measures {skeleton}, and the pose model finds {estimator.skeleton}:"
            " they have no joint in common"
        )
    person = person_id(protocol, annotations)
    files = benchmark_images(protocol, annotations, images)
    results = []
    with _progress() as progress:
        found = stream(estimator, files)
        for result in progress.track(found, total=len(files), description="images"):
            if result.poses is None:
                raise ImageError(result.error)
            results += to_results(result.poses, skeleton, files[result.path], person)
    return results, skeleton


def _boxes(annotations: Path, images: Path, pipeline: PipelineOptions) -> list[dict[str, Any]]:
    detector = pipeline.load_detector(pipeline.cores)
    files = benchmark_images("boxes", annotations, images)
    person = person_id("boxes", annotations)
    results = []
    with _progress() as progress:
        for path, image in progress.track(files.items(), description="images"):
            found = detector(read_image(path), path.as_posix())
            xywh = found.xywh.astype(np.float64).round(3)
            results += [
                {
                    "image_id": image,
                    "category_id": person,
                    "bbox": box.tolist(),
                    "score": float(score),
                }
                for box, score in zip(xywh, found.scores, strict=True)
            ]
    return results


def _single_people(
    annotations: Path, images: Path, pipeline: PipelineOptions
) -> list[dict[str, Any]]:
    """One prediction a person in the order of the annotations, from annotated centre and scale."""
    # Everybody is measured and alone: no pose is too poor or redundant, and no joint another's.
    estimator = replace(pipeline, nms="none", associate="none", min_score=0.0).load()
    if isinstance(estimator, OneStageEstimator):
        raise UsageError("single people are given as boxes, which a one-stage model cannot use")
    skeleton = load_skeleton("mpii16")
    people = read_mpii_people(annotations)
    folder = ImageFolder(images)
    nobody = {"keypoints": [0.0] * 48}
    results = []
    with _progress() as progress:
        for person in progress.track(people, description="people"):
            image = read_image(existing_image(folder, person.image))
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
    everything = parse_frames(read_json(annotations), str(annotations))
    labelled = [frame for frame in everything if frame.labelled]
    if without := [frame for frame in labelled if not frame.file_name]:
        raise DataError(f"{annotations}: image {without[0].id} has no 'file_name'")
    folder = ImageFolder(images)
    videos: dict[str, list[PoseTrackImage]] = {}
    for frame in sorted(labelled, key=lambda frame: frame.number):
        videos.setdefault(frame.video, []).append(frame)
    results = []
    with _progress() as progress:
        task = progress.add_task("frames", total=len(labelled))
        for frames in videos.values():
            tracker = PoseFlow()
            waiting = []
            tracked = []
            for frame in frames:
                image = read_image(existing_image(folder, frame.file_name))
                waiting.append(frame.id)
                tracked += tracker.update(image, estimator(image))
                progress.advance(task)
            tracked += tracker.flush()
            for identity, poses in zip(waiting, tracked, strict=True):
                # PoseTrack knows people by their ids: who has none is in no track.
                results += to_results(poses[poses.track_ids >= 0], skeleton, identity)
    return results


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, disable=not console.is_terminal, transient=True)
