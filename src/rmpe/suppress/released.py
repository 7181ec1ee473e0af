"""The pose NMS of the authors' two releases, for comparison and for parity with their results.

Both rank poses by mean joint score, use plain (not squared) distances, and sum over the joints:
eta = 22.48 was learned for 16 joints. They differ in the unit of distance, in an extra rule, in
the merging and in which poses they drop.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses
from rmpe.suppress.clusters import leaders, ranking

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReleasedResult:
    """The result of a release's pose NMS on N poses.

    Attributes:
        picks: ``(C,)``, the input pose that leads each cluster, in pick order.
        labels: ``(N,)``, the cluster of each input pose.
        kept: ``(M,)``, the clusters that are not dropped.
        keypoints: ``(M, K, 2)``, merged.
        keypoint_scores: ``(M, K)``, merged.
    """

    picks: NDArray[np.int64]
    labels: NDArray[np.int64]
    kept: NDArray[np.int64]
    keypoints: Array
    keypoint_scores: Array


def similarity_2016(boxes: Array, keypoints: Array, scores: Array) -> tuple[Array, Array]:
    """K_Sim and H_Sim of the 2016 release, ``(N, N)`` each; combined as K + 2.08 H.

    The row is the picked pose. The unit of distance is a tenth of the longer side of its box.
    """
    return _similarity(
        _distances(keypoints) / _radii(boxes)[:, None, None], scores, sigma1=0.01, sigma2=2.08
    )


def rmpe2016(
    boxes: Array, keypoints: Array, scores: Array, ankles: tuple[int, ...] = (0, 5)
) -> ReleasedResult:
    """Pose NMS of the 2016 release (MPII, 16 joints).

    Args:
        boxes: ``(N, 4)`` xyxy.
        keypoints: ``(N, K, 2)``, NaN where a joint is missing.
        scores: ``(N, K)``, 0 where a joint is missing.
        ankles: Joints left out of the pose's mean score where their score is below 0.1.
    """
    soft, spatial = similarity_2016(boxes, keypoints, scores)
    radii = _radii(boxes)
    distances = _distances(keypoints)
    labels, picks = _clusters(soft + 2.08 * spatial > 22.48, scores)
    points = []
    values = []
    kept = []
    for cluster, pick in enumerate(picks):
        members = np.flatnonzero(labels == cluster)
        near = distances[pick, members] <= radii[pick]
        merged = np.where(near, scores[members], 0).max(axis=0)
        counted = np.ones(len(merged), bool)
        counted[list(ankles)] = merged[list(ankles)] >= 0.1
        if merged[counted].mean() >= 0.2:
            points.append(_merge(keypoints, scores, pick, members, near))
            values.append(merged)
            kept.append(cluster)
    return _result(picks, labels, kept, points, values, keypoints)


def similarity_alphapose(keypoints: Array, scores: Array) -> tuple[Array, Array]:
    """K_Sim and H_Sim of the later release's body branch, ``(N, N)`` each; combined as K + 1.7 H.

    Distances are in pixels.
    """
    return _similarity(
        _distances(keypoints), np.where(scores == 0, 1e-5, scores), sigma1=1, sigma2=2.65
    )


def alphapose(
    boxes: Array, box_scores: Array, keypoints: Array, scores: Array, min_area: float = 0
) -> tuple[ReleasedResult, Array]:
    """Pose NMS of the later release (body branch).

    Args:
        boxes: ``(N, 4)`` xyxy.
        box_scores: ``(N,)``.
        keypoints: ``(N, K, 2)``, NaN where a joint is missing.
        scores: ``(N, K)``, 0 where a joint is missing.
        min_area: Drop poses when 2.25 times the area spanned by their joints is below this, in
            square pixels.

    Returns:
        The result, and its proposal scores ``(M,)``, which may exceed 1.
    """
    scores = np.where(scores == 0, 1e-5, scores)
    soft, spatial = similarity_alphapose(keypoints, scores)
    radii = _radii(boxes)
    distances = _distances(keypoints)
    close = (distances <= np.minimum(radii, 7)[:, None, None]).sum(axis=2)
    labels, picks = _clusters((soft + 1.7 * spatial > 22.48) | (close >= 5), scores)
    points = []
    values = []
    kept = []
    for cluster, pick in enumerate(picks):
        members = np.flatnonzero(labels == cluster)
        near = distances[pick, members] <= min(radii[pick], 15)
        weights = np.where(near, scores[members], 0)
        total = weights.sum(axis=0)
        merged = np.divide(
            np.square(weights).sum(axis=0), total, out=np.zeros_like(total), where=total > 0
        )
        joints = _merge(keypoints, scores, pick, members, near)
        extent = np.nanmax(joints, axis=0) - np.nanmin(joints, axis=0)
        if min(scores[pick].max(), merged.max()) >= 0.3 and 2.25 * extent.prod() >= min_area:
            points.append(joints)
            values.append(merged)
            kept.append(cluster)
    result = _result(picks, labels, kept, points, values, keypoints)
    merged = result.keypoint_scores
    return result, merged.mean(axis=1) + box_scores[picks[result.kept]] + 1.25 * merged.max(
        axis=1, initial=0
    )


def rmpe2016_nms(poses: Poses) -> Poses:
    """`rmpe2016` on ``poses``; the remaining poses keep their scores, best first."""
    poses = poses[ranking(poses)]
    joints = poses.skeleton.joints
    ankles = tuple(joints.index(name) for name in ("left_ankle", "right_ankle") if name in joints)
    result = rmpe2016(*_double(poses), ankles=ankles)
    picks = result.picks[result.kept]
    return _poses(poses, picks, result, poses.scores[picks])


def alphapose_nms(poses: Poses) -> Poses:
    """`alphapose` on ``poses``, best first.

    `Poses` do not store box scores, so the pose score takes their place. Proposal scores are
    divided by their maximum, 3.25, to lie in [0, 1].
    """
    poses = poses[ranking(poses)]
    boxes, keypoints, scores = _double(poses)
    result, proposal_scores = alphapose(boxes, poses.scores.astype(np.float64), keypoints, scores)
    return _poses(poses, result.picks[result.kept], result, np.clip(proposal_scores / 3.25, 0, 1))


def _double(poses: Poses) -> tuple[Array, Array, Array]:
    """Boxes, keypoints and joint scores in float64."""
    return (
        poses.boxes.astype(np.float64),
        poses.keypoints.astype(np.float64),
        poses.keypoint_scores.astype(np.float64),
    )


def _radii(boxes: Array) -> Array:
    """A tenth of each box's longer side, ``(N,)``, in pixels."""
    radii: Array = 0.1 * np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0), 1e-6)
    return radii


def _distances(keypoints: Array) -> Array:
    """Distances in pixels between the joints of all pairs of poses, ``(N, N, K)``.

    The distance is infinite where a joint is missing.
    """
    distances = np.linalg.norm(keypoints[:, None] - keypoints[None], axis=3)
    return np.where(np.isfinite(distances), distances, np.inf)


def _similarity(
    distances: Array, scores: Array, sigma1: float, sigma2: float
) -> tuple[Array, Array]:
    """K_Sim (joints at most one unit apart) and H_Sim, ``(N, N)`` each."""
    sure = np.tanh(scores / sigma1)
    soft = np.where(distances <= 1, sure[:, None] * sure[None], 0).sum(axis=2)
    return soft, np.exp(-distances / sigma2).sum(axis=2)


def _clusters(
    redundant: NDArray[np.bool_], scores: Array
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Greedy clusters by mean joint score: labels ``(N,)`` and picks ``(C,)``."""
    order = np.argsort(-scores.mean(axis=1), kind="stable")
    rows, columns = np.nonzero(np.triu(redundant[np.ix_(order, order)], 1))
    leader = leaders(rows, columns, len(order))
    ranks, clusters = np.unique(leader, return_inverse=True)
    labels = np.empty(len(order), np.int64)
    labels[order] = clusters
    return labels, order[ranks]


def _merge(
    keypoints: Array, scores: Array, pick: int, members: NDArray[np.int64], near: NDArray[np.bool_]
) -> Array:
    """Score-weighted mean ``(K, 2)`` of the members' near joints.

    A joint with zero total weight stays where the pick has it.
    """
    weights = np.where(near, scores[members], 0)[..., None]
    total = weights.sum(axis=0)
    mean = (weights * np.nan_to_num(keypoints[members])).sum(axis=0) / np.where(total > 0, total, 1)
    return np.where(total > 0, mean, keypoints[pick])


def _result(
    picks: NDArray[np.int64],
    labels: NDArray[np.int64],
    kept: list[int],
    points: list[Array],
    values: list[Array],
    keypoints: Array,
) -> ReleasedResult:
    joints = keypoints.shape[1]
    return ReleasedResult(
        picks,
        labels,
        np.array(kept, np.int64),
        np.array(points, np.float64).reshape(-1, joints, 2),
        np.array(values, np.float64).reshape(-1, joints),
    )


def _poses(
    poses: Poses, picks: NDArray[np.int64], result: ReleasedResult, scores: NDArray[np.floating]
) -> Poses:
    """The result as `Poses`, best first."""
    order = np.argsort(-scores, kind="stable")
    source = poses[picks[order]]
    keypoint_scores = np.clip(result.keypoint_scores[order], 0, 1)
    return source.replace(
        keypoints=result.keypoints[order], keypoint_scores=keypoint_scores, scores=scores[order]
    )
