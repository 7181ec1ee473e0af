"""COCO-WholeBody: OKS of the whole body, and of body, feet, face and hands by themselves.

Source: Jin et al., "Whole-body human pose estimation in the wild" (ECCV 2020); the rules of its
released evaluation: every part is matched anew, with the person's area; people without a labelled
joint of a part do not count there, nor do detections without one.
"""

from dataclasses import replace
from typing import Any

from rmpe.errors import DataError
from rmpe.evaluation.files.submissions import People, Record
from rmpe.evaluation.protocols.coco import CocoEvaluation, Engine, evaluate_coco
from rmpe.skeletons import load_skeleton
from rmpe.write.coco_wholebody import PARTS

# Name in the report -> key of the annotations and results, key of a score of its own.
REPORTED = {
    "body": ("keypoints", "score"),
    "feet": ("foot_kpts", "foot_score"),
    "face": ("face_kpts", "face_score"),
    "left_hand": ("lefthand_kpts", "lefthand_score"),
    "right_hand": ("righthand_kpts", "righthand_score"),
}
FIGURES = ("AP", "AP50", "AP75", "AR")


def evaluate_wholebody(
    people: People, results: list[Record], engine: Engine | None = None
) -> tuple[dict[str, Any], CocoEvaluation]:
    """Evaluate checked results by COCO-WholeBody's protocol.

    Args:
        people: Annotations with all parts, see `check_parts`.
        results: Detections with all parts.
        engine: Which library; see `evaluate_coco`.

    Returns:
        Figures of the whole body and, under ``by_part``, of each part; ``hands`` is the mean of
        both hands. And the evaluation of the whole body.
    """
    sigmas = load_skeleton("wholebody133").sigmas
    whole = _of_part(people, results, tuple(PARTS), "wholebody_score", sigmas, engine)
    by_part: dict[str, dict[str, float]] = {name: {} for name in FIGURES}
    for part, (key, score) in REPORTED.items():
        evaluation = _of_part(people, results, (key,), score, sigmas[PARTS[key]], engine)
        for name in FIGURES:
            by_part[name][part] = evaluation.figures[name]
    for name in FIGURES:
        both = [by_part[name][f"{side}_hand"] for side in ("left", "right")]
        defined = [value for value in both if value >= 0]
        by_part[name]["hands"] = sum(defined) / len(defined) if defined else -1.0
    figures = {name: whole.figures[name] for name in FIGURES}
    return figures | {"by_part": by_part, "n_detections": len(results)}, whole


def check_parts(records: list[Record], source: str) -> None:
    """Check that annotations or results have every part, whole and finite.

    Raises:
        DataError: If one has not.
    """
    for index, record in enumerate(records):
        for key, part in PARTS.items():
            numbers = record.get(key)
            length = 3 * (part.stop - part.start)
            if not isinstance(numbers, list) or len(numbers) != length:
                given = len(numbers) if isinstance(numbers, list) else "no list"
                raise DataError(
                    f"{source}: record {index}: {key!r} must be {length} numbers, got {given}"
                )


def _of_part(
    people: People,
    results: list[Record],
    keys: tuple[str, ...],
    score: str,
    sigmas: tuple[float, ...],
    engine: Engine | None,
) -> CocoEvaluation:
    annotations = [_only(annotation, keys) for annotation in people.annotations]
    for annotation in annotations:
        annotation["num_keypoints"] = _labelled(annotation)
    detections = [_only(result, keys) for result in results]
    detections = [
        detection | {"score": detection.get(score, detection["score"])}
        for detection in detections
        if keys == ("keypoints",) or _labelled(detection)
    ]
    part = replace(people, annotations=annotations, joints=len(sigmas))
    return evaluate_coco(part, detections, "keypoints", sigmas, engine)


def _only(record: Record, keys: tuple[str, ...]) -> Record:
    return record | {"keypoints": [number for key in keys for number in record[key]]}


def _labelled(record: Record) -> int:
    return sum(flag > 0 for flag in record["keypoints"][2::3])
