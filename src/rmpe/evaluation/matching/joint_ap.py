"""AP per joint with people matched by PCKh, the metric of MPII multi-person and PoseTrack.

Source: Pishchulin et al., DeepCut (CVPR 2016), as implemented in the released poseval
(``docs/evaluation.md``).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.frames import Footage, Frame
from rmpe.evaluation.matching.ranked import Ranked

# A joint is correct within this many head sizes.
THRESHOLD = 0.5


def match_by_pckh(frame: Frame, threshold: float = THRESHOLD) -> NDArray[np.bool_]:
    """Which predicted joints are correct, ``(P, K)``.

    The PCKh of a pair is the share of the annotated joints within the threshold. Each prediction
    chooses the person with the highest PCKh, and each person chooses the best of those predictions;
    ties go to the first, whatever the scores. A joint is correct if it belongs to such a pair and
    is within the threshold.
    """
    people = len(frame.truth)
    found = len(frame.points)
    joints = frame.truth.shape[1]
    right = np.zeros((found, joints), bool)
    if not (people and found):
        return right
    close = frame.distances() <= threshold  # NaN is not close
    annotated = np.isfinite(frame.truth).all(axis=2).sum(axis=1)
    pckh = close.sum(axis=2) / np.maximum(annotated, 1)[:, None]
    best_person = pckh.argmax(axis=0)
    kept = np.where(np.arange(people)[:, None] == best_person, pckh, 0)
    best_prediction = kept.argmax(axis=1)
    for person, prediction in enumerate(best_prediction):
        if kept[person, prediction] > 0:
            right[prediction] = close[person, prediction]
    return right


def rank_joints(frames: list[Frame], joints: int, threshold: float = THRESHOLD) -> list[Ranked]:
    """One match list per joint, with frames as the units."""
    right = np.concatenate(
        [match_by_pckh(frame, threshold) for frame in frames] or [np.zeros((0, joints), bool)]
    )
    missing = [np.isnan(frame.points).any(axis=2) for frame in frames]
    scores = [
        np.where(gone, np.nan, frame.scores) for gone, frame in zip(missing, frames, strict=True)
    ]
    all_scores = np.concatenate(scores or [np.zeros((0, joints))])
    unit = np.repeat(np.arange(len(frames)), [len(frame.points) for frame in frames])
    truths = np.array(
        [np.isfinite(frame.truth).all(axis=2).sum(axis=0) for frame in frames]
    ).reshape(-1, joints)
    ranked = []
    for joint in range(joints):
        there = np.isfinite(all_scores[:, joint])
        hits = right[there, joint][None]
        ranked.append(
            Ranked.sort(
                all_scores[there, joint], unit[there], hits, np.ones_like(hits), truths[:, joint]
            )
        )
    return ranked


def mean_ap(ranked: list[Ranked], weights: NDArray[np.float64] | None = None) -> float:
    """Mean AP over the joints in percent; ``weights`` has one number per frame."""
    return float(np.mean([joint.area_under_curve(weights)[0] for joint in ranked]) * 100)


def joint_figures(ranked: list[Ranked]) -> dict[str, list[Any]]:
    """AP, final precision and recall per joint in percent, and the underlying counts."""
    found = [int(joint.hits.sum()) for joint in ranked]
    predicted = [len(joint.scores) for joint in ranked]
    annotated = [int(joint.truths.sum()) for joint in ranked]
    return {
        "AP": [float(joint.area_under_curve()[0] * 100) for joint in ranked],
        "precision_last": [
            100 * hits / max(count, 1) for hits, count in zip(found, predicted, strict=True)
        ],
        "recall_last": [
            100 * hits / max(count, 1) for hits, count in zip(found, annotated, strict=True)
        ],
        "n_gt": annotated,
        "n_pred": predicted,
        "n_true_positive": found,
    }


def group_means(footage: Footage, values: list[float]) -> dict[str, float]:
    """Means of a figure over the joints of each group: head, shoulder, ..., ankle."""
    groups = footage.groups()
    return {
        group: float(np.mean([values[i] for i in members]))
        for group, members in groups.items()
        if members
    }
