"""PCKh of single people: the share of joints within half a head size, with known assignment."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.errors import DataError
from rmpe.skeletons import Skeleton

THRESHOLDS = np.arange(11) / 20
GROUPS = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# MPII's tables omit these joints.
LEFT_OUT = ("pelvis", "thorax")


def evaluate_pckh(
    truth: ArrayLike,
    points: ArrayLike,
    head_sizes: ArrayLike,
    annotated: ArrayLike,
    skeleton: Skeleton,
) -> dict[str, Any]:
    """PCKh in percent.

    Args:
        truth: ``(N, K, 2)`` annotated joints in pixels.
        points: ``(N, K, 2)`` predicted joints; NaN for a joint that is not found.
        head_sizes: ``(N,)`` in pixels.
        annotated: ``(N, K)``, true where a joint is counted.
        skeleton: Names of the joints.

    Returns:
        ``pckh50_plain`` and ``n_annotated`` per joint, ``pckh_curve`` per joint and threshold,
        means over joints (``mean14_of_joints``) and over pooled joints (``pooled14``, ``pooled16``,
        ``group_pooled``).

    Raises:
        DataError: If the shapes are inconsistent, an annotated joint is not finite, or a head size
            is not positive.

    Source: Andriluka et al., MPII (CVPR 2014).
    Differs: joints with an error of exactly 0 are counted; the released MATLAB code omits them.
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
    """Masks of the joints within each threshold ``(11, N, K)`` and of counted joints ``(N, K)``."""
    arrays = [np.asarray(array, np.float64) for array in (truth, points, head_sizes)]
    counted = np.asarray(annotated, bool)
    people, joints = counted.shape
    if [array.shape for array in arrays] != [(people, joints, 2), (people, joints, 2), (people,)]:
        shapes = [array.shape for array in arrays]
        raise DataError(f"PCKh: inconsistent shapes: {shapes} and {counted.shape}")
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
