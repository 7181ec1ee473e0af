"""COCO-WholeBody: OKS of the whole body, and of body, feet, face and hands by themselves.

Source: Jin et al., "Whole-body human pose estimation in the wild" (ECCV 2020); the rules of its
released evaluation: every part is matched anew, with the person's area; people without a labelled
joint of a part do not count there, nor do detections without one.
"""

from dataclasses import replace
from typing import Any

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
EVERYTHING = slice(0, PARTS["righthand_kpts"].stop)
FIGURES = ("AP", "AP50", "AP75", "AR")


def evaluate_wholebody(
    people: People, results: list[Record], engine: Engine | None = None
) -> tuple[dict[str, Any], CocoEvaluation]:
    """Evaluate checked results by COCO-WholeBody's protocol.

    Args:
        people: Annotations of 133 joints.
        results: Detections of 133 joints.
        engine: Which library; see `evaluate_coco`.

    Returns:
        Figures of the whole body and, under ``by_part``, of each part; ``hands`` is the mean of
        both hands. And the evaluation of the whole body.
    """
    whole = _of_part(people, results, EVERYTHING, "wholebody_score", engine)
    by_part: dict[str, dict[str, float]] = {name: {} for name in FIGURES}
    for part, (key, score) in REPORTED.items():
        evaluation = _of_part(people, results, PARTS[key], score, engine)
        for name in FIGURES:
            by_part[name][part] = evaluation.figures[name]
    for name in FIGURES:
        both = [by_part[name][f"{side}_hand"] for side in ("left", "right")]
        defined = [value for value in both if value >= 0]
        by_part[name]["hands"] = sum(defined) / len(defined) if defined else -1.0
    figures = {name: whole.figures[name] for name in FIGURES}
    return figures | {"by_part": by_part, "n_detections": len(results)}, whole


def _of_part(
    people: People, results: list[Record], part: slice, score: str, engine: Engine | None
) -> CocoEvaluation:
    annotations = [_only(annotation, part) for annotation in people.annotations]
    for annotation in annotations:
        annotation["num_keypoints"] = _labelled(annotation)
    detections = [_only(result, part) for result in results]
    detections = [
        detection | {"score": detection.get(score, detection["score"])}
        for detection in detections
        if part == PARTS["keypoints"] or _labelled(detection)
    ]
    sigmas = load_skeleton("wholebody133").sigmas[part]
    joints = replace(people, annotations=annotations, joints=len(sigmas))
    return evaluate_coco(joints, detections, "keypoints", sigmas, engine)


def _only(record: Record, part: slice) -> Record:
    numbers = record.get("keypoints") or [0.0] * (3 * EVERYTHING.stop)
    return record | {"keypoints": numbers[3 * part.start : 3 * part.stop]}


def _labelled(record: Record) -> int:
    return sum(flag > 0 for flag in record["keypoints"][2::3])
