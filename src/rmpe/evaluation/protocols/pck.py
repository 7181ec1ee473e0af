"""PCKh for single people: the share of joints within half a head size, each person's prediction being known."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import DataError
from rmpe.skeletons import Skeleton

THRESHOLDS = np.arange(11) / 20
GROUPS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# MPII's tables leave these two out.
LEFT_OUT = ("pelvis", "thorax")


def evaluate(
    truth: ArrayLike,
    points: ArrayLike,
    head_sizes: ArrayLike,
    annotated: ArrayLike,
    skeleton: Skeleton,
) -> dict[str, Any]:
    """PCKh in percent.

    Args:
        truth: ``(N, K, 2)`` annotated joints in pixels.
        points: ``(N, K, 2)`` predicted joints; a joint that is NaN is not found.
        head_sizes: ``(N,)`` in pixels.
        annotated: ``(N, K)`` which joints count.
        skeleton: What the joints are.

    Returns:
        ``pckh50_plain`` and ``n_annotated`` a joint, ``pckh_curve`` a joint and threshold, means
        over joints (``mean14_of_joints``) and over pooled joints (``pooled14``, ``pooled16``,
        ``group_pooled``).

    Raises:
        DataError: If the shapes do not fit together or an annotated joint or head size is not
            usable.

    Source: Andriluka et al., MPII (CVPR 2014). Differs: a joint whose error is exactly 0 counts,
        which the released MATLAB code leaves out.
    """
    close, counted = hits(truth, points, head_sizes, annotated)
    if counted.shape[1] != len(skeleton):
        raise DataError(f"PCKh: {counted.shape[1]} joints given, {skeleton} has {len(skeleton)}")
    at_half = close[-1]
    per_joint = at_half.sum(axis=0), counted.sum(axis=0)
    reported = [i for i, name in enumerate(skeleton.joints) if name not in LEFT_OUT]
    groups = [
        [i for i, name in enumerate(skeleton.joints) if _group(name) == group] for group in GROUPS
    ]
    plain = _percent(*per_joint)
    return {
        "joint_names": list(skeleton.joints),
        "pckh50_plain": plain.tolist(),
        "n_annotated": per_joint[1].tolist(),
        "thresholds": THRESHOLDS.tolist(),
        "pckh_curve": _percent(close.sum(axis=1), per_joint[1]).T.tolist(),
        "mean14_of_joints": float(plain[reported].mean()),
        "pooled14": float(_percent(per_joint[0][reported].sum(), per_joint[1][reported].sum())),
        "pooled16": float(_percent(per_joint[0].sum(), per_joint[1].sum())),
        "groups": list(GROUPS),
        "group_pooled": [
            float(_percent(per_joint[0][g].sum(), per_joint[1][g].sum())) for g in groups
        ],
    }


def hits(
    truth: ArrayLike, points: ArrayLike, head_sizes: ArrayLike, annotated: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which joints are within each threshold ``(11, N, K)``, and which count ``(N, K)``."""
    arrays = [np.asarray(array, np.float64) for array in (truth, points, head_sizes)]
    counted = np.asarray(annotated, bool)
    people, joints = counted.shape
    if [array.shape for array in arrays] != [(people, joints, 2), (people, joints, 2), (people,)]:
        raise DataError(
            f"PCKh: shapes do not fit together: {[array.shape for array in arrays]} and {counted.shape}"
        )
    if not (np.all(arrays[2] > 0) and np.isfinite(arrays[0][counted]).all()):
        raise DataError("PCKh: head sizes must be positive and annotated joints finite")
    distance = np.linalg.norm(arrays[0] - arrays[1], axis=2) / arrays[2][:, None]
    return (distance <= THRESHOLDS[:, None, None]) & counted, counted


def _percent(part: Any, whole: Any) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 100 * part / np.maximum(whole, 1)
    return result


def _group(joint: str) -> str:
    part = joint.removeprefix("right_").removeprefix("left_")
    return "head" if part in ("upper_neck", "head_top") else part
