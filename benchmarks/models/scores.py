"""How a pose is scored: keypoint AP by what its score is made of.

The poses are the same for all ways, those that pose NMS leaves; only their order differs. The ways
were compared on the photos of configs/dev.txt, where the default was chosen.
"""

from collections.abc import Callable

import numpy as np

from benchmarks.options import benchmark
from benchmarks.people import folder, interval
from benchmarks.record import show
from rmpe.estimate.score import SEEN, box_scores, pose_scores
from rmpe.evaluation.figures.bootstrap import compare
from rmpe.evaluation.files.submissions import check_results, read_people
from rmpe.evaluation.protocols.coco import evaluate_coco
from rmpe.media.images import read_image
from rmpe.options import load


def mean_above(joints, least):
    """The mean score of the joints above ``least``, 0 without any."""
    seen = joints > least
    return (joints * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


WAYS: dict[str, Callable] = {
    "root of the box, mean square of joints that are seen": pose_scores,
    "the same, of all joints": lambda box, joints: np.sqrt(box * (joints**2).mean(axis=1)),
    "box, mean of joints above .2": lambda box, joints: box * mean_above(joints, 0.2),
    "box, mean of all joints": lambda box, joints: box * joints.mean(axis=1),
}


def measured(people, poses, way):
    """What the evaluation says of poses by image, ordered by a way to score them."""
    results = [
        {**one, "score": float(score)}
        for image_id, found in poses
        for one, score in zip(
            found.to_coco(image_id),
            way(box_scores(found.scores, found.keypoint_scores), found.keypoint_scores),
            strict=True,
        )
    ]
    return evaluate_coco(people, check_results(results, people, "keypoints")[0])


@benchmark("data", "save")
def main(data, save):
    val = folder(data)
    people = read_people(val / "annotations.json")
    names = {image["id"]: image["file_name"] for image in people.images}
    images = [read_image(val / "images" / names[image_id]) for image_id in people.image_ids]
    every = np.ones(len(images))
    published = data / "models"
    tiny = (published / "yolox_nano.onnx", published / "tinypose_256x192.onnx")
    rows = []
    for name, models in {
        "default": (None, None),
        "pose-lite": (None, "pose-lite"),
        "YOLOX-nano and TinyPose": tiny,
    }.items():
        estimator = load(*models, min_score=0)
        poses = list(zip(people.image_ids, map(estimator, images), strict=True))
        first = None
        for way, score in WAYS.items():
            ap = measured(people, poses, score).ranked["all"].coco_ap
            gap = interval(compare(ap, first, len(images))) if first else ""
            first = first or ap
            rows.append([name, way, 100 * ap(every), gap])
            print(rows[-1], flush=True)
    show(
        "pose-scores",
        save=save,
        title="What a pose's score is made of",
        data=f"coco-val, {len(images)} photos",
        columns=["models", "score", "AP", "less the first"],
        rows=rows,
        notes=(
            "Only the order of the poses differs. The first way is the default; a joint is seen if"
            f" its score exceeds {SEEN}. It was chosen on other photos (configs/dev.txt)."
            " Differences have 95 % bootstrap intervals, paired over photos."
        ),
    )


if __name__ == "__main__":
    main()
