"""AP and mean OKS of a pose model, alone or behind an STN, on boxes that are given."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.people import targets, xyxy
from rmpe.boxes import Boxes
from rmpe.detect import WholeImage
from rmpe.estimate.pose_model import load_pose_model
from rmpe.estimate.stn import load_stn
from rmpe.evaluation.figures.bootstrap import Figure
from rmpe.evaluation.files.submissions import People, check_results
from rmpe.evaluation.matching.oks import oks
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.media.images import read_image
from rmpe.pipeline import Estimator
from rmpe.skeletons import load_skeleton

Boxed = list[dict[str, Any]]
Make = Callable[[], Estimator]


@dataclass(frozen=True)
class Score:
    """AP and mean OKS as functions of the images' weights, as the bootstrap takes them."""

    ap: Figure
    oks: Figure


def estimator(pose: Path, stn: Path | None = None) -> Estimator:
    """A pose model, composed behind an STN if one is given; without pose NMS, on one thread."""
    before = load_stn(stn, threads=1) if stn else None
    model = load_pose_model(pose, threads=1)
    return Estimator(WholeImage(), model, before, lambda poses: poses, min_score=0.0)


def estimate_all(
    model: Estimator, people: People, images: Path, boxes: Boxed
) -> tuple[Boxed, float]:
    """COCO results in the order of the boxes, and CPU milliseconds a person."""
    by_image: dict[int, list[int]] = {}
    for index, box in enumerate(boxes):
        by_image.setdefault(box["image_id"], []).append(index)
    names = {image["id"]: image["file_name"] for image in people.images}
    results: Boxed = [{}] * len(boxes)
    spent = 0.0
    for image_id, indices in by_image.items():
        image = read_image(images / names[image_id])
        found = Boxes(xyxy([boxes[index] for index in indices]))
        start = time.process_time()
        poses = model.estimate(image, found)
        spent += time.process_time() - start
        if len(poses) != len(indices):
            raise RuntimeError(f"image {image_id}: {len(poses)} poses for {len(indices)} boxes")
        for index, result in zip(indices, poses.to_coco(image_id), strict=True):
            results[index] = result
    return results, 1000 * spent / len(boxes)


def score(people: People, results: Boxed) -> Score:
    """AP by COCO's protocol, and the mean OKS of each person with the pose from its own box."""
    checked, _ = check_results(results, people, "keypoints")
    ranked = evaluate_coco(people, checked).ranked["all"]
    everybody = targets(people)
    truth = _joints(everybody)
    truth[truth[..., 2] == 0] = np.nan
    points = _joints(results)[..., :2]
    sigmas = load_skeleton("coco17").sigmas
    similarity = np.array(
        [
            oks(person[None, :, :2], found[None], [annotation["area"]], sigmas)[0, 0]
            for person, found, annotation in zip(truth, points, everybody, strict=True)
        ]
    )
    place = np.searchsorted(people.image_ids, [a["image_id"] for a in everybody])
    return Score(
        ranked.coco_ap, lambda weights: float(np.average(similarity, weights=weights[place]))
    )


def _joints(records: Boxed) -> NDArray[np.float64]:
    return np.array([one["keypoints"] for one in records], np.float64).reshape(len(records), -1, 3)
