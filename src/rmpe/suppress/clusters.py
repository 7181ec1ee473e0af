"""Greedy elimination and the merging of what was eliminated: shared by every pose NMS that merges."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


def ranking(poses: Poses) -> NDArray[np.int64]:
    """Order of ``poses`` from the most confident down, ``(N,)``; equal scores are ordered by what the poses hold.

    So no result depends on the order in which poses arrive.
    """
    order = np.argsort(-poses.scores, kind="stable")
    ranked = poses.scores[order]
    if np.all(ranked[1:] < ranked[:-1]):
        return order
    count = len(poses)
    points = poses.keypoints.reshape(count, -1)
    return np.lexsort([poses.track_ids, *poses.boxes.T, *poses.keypoint_scores.T, *points.T, -poses.scores])


def leaders(rows: NDArray[np.int64], columns: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Greedy elimination: the first pose that is left takes all that are redundant to it, then the next one left.

    Args:
        rows: ``(P,)``, ascending: the pose of each redundant pair that would stay; poses in order of confidence.
        columns: ``(P,)``, the pose of each pair that would go.
        count: Number of poses.

    Returns:
        ``(N,)``, for every pose the index of the one that took it; its own index when it is kept.
    """
    leader = np.arange(count)
    free = np.ones(count, bool)
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(rows)]):
        row = rows[start]
        if free[row]:
            taken = columns[start:end]
            taken = taken[free[taken]]
            leader[taken] = row
            free[taken] = free[row] = False
    return leader


def merge_joints(
    keypoints: NDArray[np.float32],
    weights: NDArray[np.float32],
    leader: NDArray[np.int64],
    radius: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Weighted mean of each kept joint and of the same joint of the poses it removed, where these are near.

    Args:
        keypoints: ``(N, K, 2)``; NaN where a joint is missing.
        weights: ``(N, K)``, how much each joint counts; 0 where it is missing.
        leader: ``(N,)`` from `leaders`.
        radius: ``(N,)``, largest distance from the kept joint at which another is averaged into it, in pixels.

    Returns:
        ``(M, K, 2)``, of the M kept poses in order of index; a joint without any weight stays where it was.
    """
    kept = np.flatnonzero(leader == np.arange(len(leader)))
    offset = keypoints - keypoints[leader]
    near = np.einsum("nkc,nkc->nk", offset, offset) <= np.square(radius[leader])[:, None]
    weight = np.where(near, weights, 0)
    # Members side by side, so that each kept pose is one slice of the sums; a kept pose leads its own slice.
    order = np.argsort(leader, kind="stable")
    starts = np.searchsorted(leader[order], kept)
    weighted = np.where(near[..., None], offset, 0) * weight[..., None]
    total = np.add.reduceat(weight[order], starts, axis=0)[..., None]
    shift = np.add.reduceat(weighted[order], starts, axis=0) / np.where(total > 0, total, 1)
    return (keypoints[kept] + shift).astype(np.float32)
