"""What kind of errors there are: jitter, inversion, swap, miss; redundant and invented people,
people missed.

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

# A joint of this similarity is as good as a human's; one of the lower is still the right joint,
# only badly placed.
GOOD = 0.85
NEAR = 0.5
JOINT_KINDS = ("good", "jitter", "inversion", "swap", "miss")
# A spare detection is redundant if it is this similar to a person who was found; else it is
# invented.
REDUNDANT_OKS = 0.5


def error_kinds(matches: list[ImageMatch], skeleton: Skeleton) -> dict[str, Any]:
    """Count errors of joints over the people found, and of people.

    Args:
        matches: From `rmpe.evaluation.matching.people.match_people`.
        skeleton: What the joints are.

    Returns:
        ``joints``: how many labelled joints of found people are ``good``, ``jitter`` (off, but
        nearer to their own place than that is spread), ``inversion`` (on the person's own other
        side), ``swap`` (on another person's joint) or ``miss`` (anywhere else); ``per_joint``: the
        same a joint; ``people``: how many were ``found`` and ``missed``, and how many detections
        are ``redundant`` or ``invented`` (those on people or crowds that the protocol ignores are
        left out).
    """
    per_joint = {kind: np.zeros(len(skeleton), np.int64) for kind in JOINT_KINDS}
    people = dict.fromkeys(("found", "missed", "redundant", "invented"), 0)
    for match in matches:
        people["found"] += int((match.match >= 0).sum())
        people["missed"] += int((match.match < 0).sum())
        spare = [index for index in range(len(match.found)) if index not in match.match]
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
    """For every kind, which joints ``(G, K)`` are of it; people missed and joints not labelled are of none."""
    joints = len(skeleton)
    people = np.arange(len(match.truth))
    if not len(people) or not len(match.found):
        return {kind: np.zeros((len(people), joints), bool) for kind in JOINT_KINDS}
    truth = joints_of(match.truth, joints)
    found = np.array([record["keypoints"] for record in match.found], np.float64).reshape(
        -1, joints, 3
    )
    mine = found[match.match, :, :2]
    areas = np.array([annotation["area"] for annotation in match.truth], np.float64)

    def similarity(targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of my predicted joints to the targets ``(T, K, 2)``, by my size: ``(G, T, K)``."""
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
    labelled = np.isfinite(truth).all(axis=2) & (match.match >= 0)[:, None]
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
    """Whether most joints of a detection lie in the box of a crowd or of a person without labelled joints."""
    points = np.array(match.found[index]["keypoints"], np.float64).reshape(joints, 3)[:, :2]
    for annotation in match.ignored:
        left, top, width, height = annotation["bbox"]
        inside = (points >= [left, top]) & (points <= [left + width, top + height])
        if inside.all(axis=1).mean() > 0.5:
            return True
    return False


def similarity_by_box_iou(matches: list[ImageMatch]) -> dict[str, tuple[float, int]]:
    """Mean OKS and number of the people found, by IoU of the detection's ``bbox`` with the
    person's.

    Empty if the results hold no boxes.
    """
    pairs = [
        (annotation["bbox"], match.found[index]["bbox"], match.similarity[person, index])
        for match in matches
        for person, (annotation, index) in enumerate(zip(match.truth, match.match, strict=True))
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
