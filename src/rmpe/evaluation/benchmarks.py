"""The benchmarks by name: from files to figures, a headline figure for comparison, and plots."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.errors import DataError, UsageError
from rmpe.evaluation.figures import plots
from rmpe.evaluation.figures.box_recall import box_recall
from rmpe.evaluation.figures.error_kinds import JOINT_KINDS, error_kinds, similarity_by_box_iou
from rmpe.evaluation.files import mot as mot_files
from rmpe.evaluation.files import mpii as mpii_files
from rmpe.evaluation.files import pck as pck_files
from rmpe.evaluation.files import posetrack as posetrack_files
from rmpe.evaluation.files.frames import Footage, frames_layout, is_frames_layout
from rmpe.evaluation.files.skeletons import benchmark_skeleton
from rmpe.evaluation.files.submissions import People, Record, read_people, read_results
from rmpe.evaluation.files.wholebody import read_wholebody_people, read_wholebody_results
from rmpe.evaluation.matching.joint_ap import mean_ap, rank_joints
from rmpe.evaluation.matching.people import match_people
from rmpe.evaluation.protocols import coco, crowdpose, mot, mpii, pck, posetrack, wholebody
from rmpe.evaluation.protocols.crowding import LEVELS, ap_by_crowding, image_crowding, levels
from rmpe.files import read_json
from rmpe.skeletons import Skeleton, load_skeleton

# Smallest score of detections in the error analysis; almost all weaker ones would be redundant.
ERROR_SCORE = 0.2
# OKS or IoU from which a detection can count as a person found.
THRESHOLD = float(coco.THRESHOLDS[0])
CROWD_NOTES = {level: f"{low:g} to {high:g}" for level, (low, high) in LEVELS.items()}


@dataclass(frozen=True, eq=False)
class Measured:
    """The measurements of one results file.

    Attributes:
        figures: All figures under their standard names: numbers, lists and dictionaries.
        warnings: One line per kind of input that was skipped.
        headline_name: Name of the figure for comparing files.
        headline: Computes that figure from weights of the units.
        units: Number of units (images, frames, people) that the bootstrap resamples.
        plots: Draws the plots into a folder and returns their paths.
    """

    figures: dict[str, Any]
    warnings: list[str]
    headline_name: str
    headline: Callable[[NDArray[np.float64]], float]
    units: int
    plots: Callable[[Path], list[Path]]


def coco_keypoints(
    annotations: Path, results: Path | None, skeleton: Skeleton | None = None
) -> Measured:
    """COCO keypoints, with AP by crowding and error kinds.

    ``skeleton`` says what the joints are; by default the annotations' category does.
    """
    people = read_people(annotations)
    skeleton, said = benchmark_skeleton(people, str(annotations), skeleton)
    detections, warnings = _coco_results(people, annotations, results, "keypoints")
    warnings += [said] if said else []
    evaluation = coco.evaluate_coco(people, detections, sigmas=skeleton.sigmas)
    crowding = image_crowding(people)
    by_crowding = ap_by_crowding(evaluation, crowding)
    counts = {level: int(chosen.sum()) for level, chosen in levels(crowding).items()}
    # Nested, because AP_medium is COCO's AP of medium-sized people.
    figures = (
        evaluation.figures
        | _sizes(people)
        | {"by_crowding": {"AP": by_crowding, "n_images": counts}}
    )
    return _keypoints_measured(
        people, detections, results, warnings, evaluation, figures, skeleton, by_crowding
    )


def wholebody_keypoints(annotations: Path, results: Path | None) -> Measured:
    """COCO-WholeBody (133 joints), whole and by part."""
    people = read_wholebody_people(annotations)
    detections, warnings = read_wholebody_results(_needed(results, annotations), people)
    figures, evaluation = wholebody.evaluate_wholebody(people, detections)

    def draw(folder: Path) -> list[Path]:
        shares = {"whole": figures["AP"]} | figures["by_part"]["AP"]
        return [
            plots.precision_recall(evaluation.precision, folder / "precision_recall.png"),
            plots.bars(shares, "AP by part", "AP", folder / "ap_by_part.png"),
        ]

    return _coco_measured(figures | _sizes(people), people.warnings + warnings, evaluation, draw)


def crowdpose_keypoints(annotations: Path, results: Path | None) -> Measured:
    """CrowdPose (14 joints), with error kinds."""
    people = read_people(annotations)
    skeleton, _ = benchmark_skeleton(people, str(annotations), load_skeleton("crowdpose14"))
    detections, warnings = _coco_results(people, annotations, results, "keypoints")
    figures, evaluation = crowdpose.evaluate_crowdpose(people, detections)
    areas = crowdpose.with_box_areas(people)
    by_crowding = {level: figures[f"AP_{level}"] for level in LEVELS}
    return _keypoints_measured(
        areas, detections, results, warnings, evaluation, figures, skeleton, by_crowding
    )


def coco_boxes(annotations: Path, results: Path | None) -> Measured:
    """COCO person boxes, with recall by size and crowding."""
    people = read_people(annotations)
    detections, warnings = _coco_results(people, annotations, results, "bbox")
    flat = [one["id"] for one in people.annotations if not min(one["bbox"][2:]) > 0]
    if flat:
        warnings.append(
            f"{annotations}: {len(flat)} x 'bbox' without extent: such a person cannot be found,"
            f" first: annotation {flat[0]}"
        )
    evaluation = coco.evaluate_coco(people, detections, "bbox")
    warnings += _nothing_found(evaluation, results)
    recall = box_recall(people, evaluation)

    def draw(folder: Path) -> list[Path]:
        shares = {name: value for name, value in recall.items() if name.startswith("recall")}
        return [
            plots.precision_recall(evaluation.precision, folder / "precision_recall.png"),
            plots.bars(_by_size(evaluation.figures), "AP by size", "AP", folder / "ap_by_size.png"),
            plots.bars(shares, "Recall by size and crowding", "recall", folder / "recall.png"),
        ]

    figures = evaluation.figures | recall | _sizes(people)
    return _coco_measured(figures, warnings, evaluation, draw)


def mpii_multi_person(annotations: Path, results: Path | None) -> Measured:
    """MPII multi-person, in MPII's JSON or the frames layout."""
    footage = _footage(annotations, results, mpii_files.read_annotations)
    figures = mpii.evaluate_mpii(footage)
    return _footage_measured(footage, figures, figures["AP"], "total_AP_14")


def posetrack_sequences(annotations: Path, results: Path | None) -> Measured:
    """PoseTrack, in its own JSON or the frames layout."""
    footage = _footage(annotations, results, posetrack_files.read_annotations)
    figures = posetrack.evaluate_posetrack(footage)
    figures |= {"joint_names": list(footage.joint_names)}
    return _footage_measured(
        footage, figures, dict(zip(footage.joint_names, figures["AP"], strict=True)), "AP_mean"
    )


def pckh(annotations: Path, results: Path | None) -> Measured:
    """PCKh of single people, from an .npz file or MPII's JSON."""
    if annotations.suffix == ".npz":
        people = pck_files.read_arrays(annotations)
        if results:
            people = replace(people, points=pck_files.read_arrays(results).points)
    else:
        people = pck_files.read_annotations(annotations, _needed(results, annotations))
    skeleton = load_skeleton("mpii16")
    arrays = (people.truth, people.points, people.head_sizes, people.annotated)
    figures = pck.evaluate_pckh(*arrays, skeleton)
    close, counted = pck.hits(*arrays)
    reported = [index for index, joint in enumerate(skeleton.joints) if joint not in pck.LEFT_OUT]
    right, there = (flags[:, reported].sum(axis=1) for flags in (close[-1], counted))

    def pooled(weights: NDArray[np.float64]) -> float:
        return float(100 * (weights @ right) / max(weights @ there, 1))

    def draw(folder: Path) -> list[Path]:
        per_joint = dict(zip(skeleton.joints, figures["pckh50_plain"], strict=True))
        return [
            plots.bars(per_joint, "PCKh at half a head size", "PCKh [%]", folder / "per_joint.png")
        ]

    return Measured(figures, [], "pooled14", pooled, len(right), draw)


def mot_sequences(annotations: Path, results: Path | None) -> Measured:
    """Tracks of people's boxes in the MOT Challenge's layout."""
    sequences = mot_files.read_sequences(annotations, _needed(results, annotations))
    figures, counts = mot.evaluate_mot(sequences)
    names = ("misses", "false_positives", "switches", "objects")
    table = np.array([[getattr(one, name) for name in names] for one in counts], np.float64)

    def mota(weights: NDArray[np.float64]) -> float:
        *wrong, objects = weights @ table
        return float(100 * (1 - sum(wrong) / max(objects, 1)))

    def draw(folder: Path) -> list[Path]:
        by_name = figures["per_sequence"]
        per_sequence = dict(zip(by_name["sequence"], by_name["MOTA"], strict=True))
        return [
            plots.bars(per_sequence, "MOTA per sequence", "MOTA [%]", folder / "per_sequence.png")
        ]

    return Measured(figures, [], "MOTA", mota, len(counts), draw)


Measure = Callable[[Path, Path | None], Measured]
PROTOCOLS: dict[str, Measure] = {
    "coco": coco_keypoints,
    "wholebody": wholebody_keypoints,
    "boxes": coco_boxes,
    "crowdpose": crowdpose_keypoints,
    "mpii": mpii_multi_person,
    "posetrack": posetrack_sequences,
    "mot": mot_sequences,
    "pck": pckh,
}


def measure_of(protocol: str, skeleton: Skeleton | None = None) -> Measure:
    """How a benchmark measures.

    Args:
        protocol: Its name.
        skeleton: For ``coco``: what the joints are, where the annotations do not say.

    Raises:
        UsageError: If the benchmark has joints of its own.
    """
    if skeleton is None:
        return PROTOCOLS[protocol]
    if protocol != "coco":
        raise UsageError(f"{protocol} has joints of its own: --skeleton is for coco")
    return partial(coco_keypoints, skeleton=skeleton)


def _needed(results: Path | None, annotations: Path) -> Path:
    if results is None:
        raise UsageError(f"{annotations} contains no predictions: give --results or --images")
    return results


def _coco_results(
    people: People, annotations: Path, results: Path | None, field: str
) -> tuple[list[Record], list[str]]:
    detections, warnings = read_results(_needed(results, annotations), people, field)
    counted = [one for one in people.annotations if one.get("num_keypoints") and not one["iscrowd"]]
    if field == "keypoints" and people.annotations and not counted:
        warnings.append(f"{annotations}: no person has a labelled joint, so AP is -1 (not defined)")
    return detections, people.warnings + warnings


def _nothing_found(evaluation: coco.CocoEvaluation, results: Path | None) -> list[str]:
    """Why AP is 0 although there are detections, and what to look at."""
    figures = evaluation.figures
    if figures["AP"] != 0 or not figures["n_detections"]:
        return []
    return [
        f"{results}: AP is 0, because no detection fits an annotated person by {THRESHOLD:g} or"
        " more: are they of the same images, in pixels, and in the layout of COCO?"
    ]


def _sizes(people: People) -> dict[str, int]:
    return {
        "n_images": len(people.images),
        "n_annotations": len(people.annotations),
        "n_crowd": sum(a["iscrowd"] for a in people.annotations),
        "n_with_keypoints": sum(a.get("num_keypoints", 0) > 0 for a in people.annotations),
    }


def _by_size(figures: dict[str, Any]) -> dict[str, float]:
    names = {"all": "AP", "small": "AP_small", "medium": "AP_medium", "large": "AP_large"}
    return {size: figures[name] for size, name in names.items() if name in figures}


def _keypoints_measured(
    people: People,
    detections: list[Record],
    results: Path | None,
    warnings: list[str],
    evaluation: coco.CocoEvaluation,
    figures: dict[str, Any],
    skeleton: Skeleton,
    by_crowding: dict[str, float],
) -> Measured:
    warnings += _nothing_found(evaluation, results)
    matches = match_people(people, detections, skeleton.sigmas, ERROR_SCORE)
    errors = error_kinds(matches, skeleton)
    by_box = similarity_by_box_iou(matches)

    def draw(folder: Path) -> list[Path]:
        per_joint = {kind: errors["per_joint"][kind] for kind in JOINT_KINDS}
        everyone = {kind: [count] for kind, count in errors["joints"].items()}
        drawn = [
            plots.precision_recall(evaluation.precision, folder / "precision_recall.png"),
            plots.bars(
                by_crowding, "AP by crowd index", "AP", folder / "ap_by_crowding.png", CROWD_NOTES
            ),
            plots.stacked(
                per_joint, skeleton.joints, "Error kinds per joint", folder / "per_joint.png"
            ),
            plots.stacked(everyone, ("all joints",), "Error kinds", folder / "error_kinds.png"),
            plots.bars(errors["people"], "People", "count", folder / "people.png"),
        ]
        if "AP_large" in figures:
            drawn.append(
                plots.bars(_by_size(figures), "AP by size", "AP", folder / "ap_by_size.png")
            )
        if by_box:
            means = {bin_: mean for bin_, (mean, _) in by_box.items()}
            counts = {bin_: str(count) for bin_, (_, count) in by_box.items()}
            title = "OKS of found people by IoU of their boxes"
            drawn.append(plots.bars(means, title, "mean OKS", folder / "by_box_iou.png", counts))
        return drawn

    return _coco_measured(figures | {"error_kinds": errors}, warnings, evaluation, draw)


def _coco_measured(
    figures: dict[str, Any],
    warnings: list[str],
    evaluation: coco.CocoEvaluation,
    draw: Callable[[Path], list[Path]],
) -> Measured:
    def headline(weights: NDArray[np.float64]) -> float:
        return evaluation.ranked["all"].coco_ap(weights)

    return Measured(figures, warnings, "AP", headline, len(evaluation.people.images), draw)


def _footage(
    annotations: Path, results: Path | None, read: Callable[[Path, Path], Footage]
) -> Footage:
    if annotations.is_dir():
        return read(annotations, _needed(results, annotations))
    data = read_json(annotations)
    if not is_frames_layout(data):
        return read(annotations, _needed(results, annotations))
    if results is not None:
        data = read_json(results)  # the frames file of another method; it includes annotations
        if not is_frames_layout(data):
            raise DataError(
                f"{results}: {annotations} is in the frames layout, so the results must be too"
            )
    return frames_layout(data, str(annotations))


def _footage_measured(
    footage: Footage, figures: dict[str, Any], per_joint: dict[str, float], name: str
) -> Measured:
    frames = [frame for frame in footage.frames if len(frame.truth)]
    ranked = rank_joints(frames, len(footage.joint_names))

    def draw(folder: Path) -> list[Path]:
        drawn = [plots.bars(per_joint, "AP per joint", "AP [%]", folder / "per_joint.png")]
        if "MOTA" in figures:
            mota = dict(zip(footage.joint_names, figures["MOTA"], strict=True))
            drawn.append(
                plots.bars(mota, "MOTA per joint", "MOTA [%]", folder / "mota_per_joint.png")
            )
        return drawn

    def headline(weights: NDArray[np.float64]) -> float:
        return mean_ap(ranked, weights)

    return Measured(figures, footage.warnings, name, headline, len(frames), draw)
