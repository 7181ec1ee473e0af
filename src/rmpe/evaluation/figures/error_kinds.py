"""Error diagnosis: joints by error kind, and people found, missed, redundant or invented.

Source: Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation (ICCV
2017), section 3.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.matching.oks import keypoint_similarity
from rmpe.evaluation.matching.people import ImageMatch, joints_of
from rmpe.skeletons import Skeleton

# From GOOD on, a joint is as accurate as a human annotation; from NEAR on, it is the right joint at
# an inaccurate position.
GOOD = 0.85
NEAR = 0.5
JOINT_KINDS = ("good", "jitter", "inversion", "swap", "miss")
# An unmatched detection is redundant if it is this similar to a person, else invented.
REDUNDANT_OKS = 0.5


def error_kinds(matches: list[ImageMatch], skeleton: Skeleton) -> dict[str, Any]:
    """Count the error kinds of the joints of found people, and the errors of detection.

    Args:
        matches: Matches from `rmpe.evaluation.matching.people.match_people`.
        skeleton: Names of the joints.

    Returns:
        ``joints``: the number of labelled joints of found people that are ``good``, ``jitter``
        (similarity from 0.5 to 0.85), ``inversion`` (on the opposite joint of the same person),
        ``swap`` (on a joint of another person) or ``miss`` (elsewhere). ``per_joint``: the same per
        joint. ``people``: the number of people ``found`` and ``missed``, and of detections that are
        ``redundant`` or ``invented``; detections on ignored people or crowds are left out.
    """
    per_joint = {kind: np.zeros(len(skeleton), np.int64) for kind in JOINT_KINDS}
    people = dict.fromkeys(("found", "missed", "redundant", "invented"), 0)
    for match in matches:
        people["found"] += int((match.detection >= 0).sum())
        people["missed"] += int((match.detection < 0).sum())
        spare = [index for index in range(len(match.found)) if index not in match.detection]
        redundant = [
            i for i in spare if len(match.truth) and match.similarity[:, i].max() >= REDUNDANT_OKS
        ]
        people["redundant"] += len(redundant)
        people["invented"] += sum(
            i not in redundant and not on_ignored(match, i, len(skeleton)) for i in spare
        )
        for kind, flags in joint_kinds(match, skeleton).items():
            per_joint[kind] += flags.sum(axis=0)
    return {
        "joints": {kind: int(counts.sum()) for kind, counts in per_joint.items()},
        "per_joint": {"joint_names": list(skeleton.joints)}
        | {kind: n.tolist() for kind, n in per_joint.items()},
        "people": people,
    }


def joint_kinds(match: ImageMatch, skeleton: Skeleton) -> dict[str, NDArray[np.bool_]]:
    """A mask of joints ``(G, K)`` per error kind.

    Missed people and unlabelled joints belong to no kind.
    """
    joints = len(skeleton)
    people = np.arange(len(match.truth))
    if not len(people) or not len(match.found):
        return {kind: np.zeros((len(people), joints), bool) for kind in JOINT_KINDS}
    truth = joints_of(match.truth, joints)
    found = np.array([record["keypoints"] for record in match.found], np.float64).reshape(
        -1, joints, 3
    )
    mine = found[match.detection, :, :2]
    areas = np.array([annotation["area"] for annotation in match.truth], np.float64)

    def similarity(targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Similarity ``(G, T, K)`` of each person's predicted joints to targets ``(T, K, 2)``."""
        near = [
            keypoint_similarity(targets, p[None], np.full(len(targets), a), skeleton.sigmas)[:, 0]
            for p, a in zip(mine, areas, strict=True)
        ]
        return np.nan_to_num(np.array(near))

    direct = similarity(truth)
    mirrored = similarity(truth[:, skeleton.flip_order])
    own = direct[people, people]
    twin = mirrored[people, people]
    has_twin = skeleton.flip_order != np.arange(joints)
    direct[people, people] = mirrored[people, people] = 0
    elsewhere = np.maximum(direct, mirrored).max(axis=1)
    labelled = np.isfinite(truth).all(axis=2) & (match.detection >= 0)[:, None]
    inversion = (twin >= NEAR) & has_twin
    swap = elsewhere >= NEAR
    wrong = labelled & (own < NEAR)
    return {
        "good": labelled & (own >= GOOD),
        "jitter": labelled & (own >= NEAR) & (own < GOOD),
        "inversion": wrong & inversion,
        "swap": wrong & ~inversion & swap,
        "miss": wrong & ~inversion & ~swap,
    }


def on_ignored(match: ImageMatch, index: int, joints: int) -> bool:
    """Whether more than half of a detection's joints lie in the box of an ignored annotation."""
    points = np.array(match.found[index]["keypoints"], np.float64).reshape(joints, 3)[:, :2]
    for annotation in match.ignored:
        left, top, width, height = annotation["bbox"]
        inside = (points >= [left, top]) & (points <= [left + width, top + height])
        if inside.all(axis=1).mean() > 0.5:
            return True
    return False


def similarity_by_box_iou(matches: list[ImageMatch]) -> dict[str, tuple[float, int]]:
    """Mean OKS and number of found people, by the IoU of their detected and true boxes.

    Empty if the results contain no ``bbox``.
    """
    pairs = [
        (annotation["bbox"], match.found[index]["bbox"], match.similarity[person, index])
        for match in matches
        for person, (annotation, index) in enumerate(zip(match.truth, match.detection, strict=True))
        if index >= 0 and "bbox" in match.found[index]
    ]
    if not pairs:
        return {}
    truth, found = (np.array([pair[side] for pair in pairs], np.float64) for side in (0, 1))
    overlap = np.minimum(truth[:, :2] + truth[:, 2:], found[:, :2] + found[:, 2:]) - np.maximum(
        truth[:, :2], found[:, :2]
    )
    shared = np.prod(np.maximum(overlap, 0), axis=1)
    iou = shared / np.maximum(
        truth[:, 2:].prod(axis=1) + found[:, 2:].prod(axis=1) - shared, np.spacing(1)
    )
    similarities = np.array([similarity for _, _, similarity in pairs])
    edges = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    bins = {}
    for low, high in pairwise(edges):
        members = (iou >= low) & ((iou < high) | (high == 1))
        if members.any():
            bins[f"{low:.1f}-{high:.1f}"] = (
                float(similarities[members].mean()),
                int(members.sum()),
            )
    return bins
