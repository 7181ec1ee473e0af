"""Greedy elimination and the merging of what was eliminated: shared by every pose NMS that merges."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


def ranking(poses: Poses) -> NDArray[np.int64]:
    """Order of ``poses`` from the most confident down, ``(N,)``; equal scores are ordered by what
    the poses hold.

    So no result depends on the order in which poses arrive.
    """
    order = np.argsort(-poses.scores, kind="stable")
    ranked = poses.scores[order]
    if np.all(ranked[1:] < ranked[:-1]):
        return order
    count = len(poses)
    points = poses.keypoints.reshape(count, -1)
    return np.lexsort(
        [poses.track_ids, *poses.boxes.T, *poses.keypoint_scores.T, *points.T, -poses.scores]
    )


def leaders(rows: NDArray[np.int64], columns: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Greedy elimination: the first pose that is left takes all that are redundant to it, then the
    next one left.

    Args:
        rows: ``(P,)``, ascending: the pose of each redundant pair that would stay; poses in order
            of confidence.
        columns: ``(P,)``, the pose of each pair that would go; larger than its row.
        count: Number of poses.

    Returns:
        ``(N,)``, for every pose the index of the one that took it; its own index when it is kept.
    """
    leader = np.arange(count)
    eliminate(leader, rows, columns)
    return leader


def eliminate(
    leader: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> None:
    """One stretch of `leaders`, whose pairs may come in several; ``leader`` is updated."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(rows)]):
        row = rows[start]
        if leader[row] == row:
            taken = columns[start:end]
            taken = taken[leader[taken] == taken]
            leader[taken] = row


def merge_joints(
    keypoints: NDArray[np.float32],
    weights: NDArray[np.float32],
    leader: NDArray[np.int64],
    radius: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Weighted mean of each kept joint and of the same joint of the poses it removed, where these
    are near.

    Args:
        keypoints: ``(N, K, 2)``; NaN where a joint is missing.
        weights: ``(N, K)``, how much each joint counts; 0 where it is missing.
        leader: ``(N,)`` from `leaders`.
        radius: ``(N,)``, largest distance from the kept joint at which another is averaged into it,
            in pixels.

    Returns:
        ``(M, K, 2)``, of the M kept poses in order of index; a joint without any weight stays where
        it was.
    """
    own = np.arange(len(leader))
    removed = np.flatnonzero(leader != own)
    removed = removed[
        np.argsort(leader[removed], kind="stable")
    ]  # those of one leader side by side
    starts = np.flatnonzero(np.diff(leader[removed], prepend=-1))
    gaining = leader[removed][starts]

    offset = keypoints[removed] - keypoints[leader[removed]]
    near = np.square(offset).sum(axis=2) <= np.square(radius[leader[removed]])[:, None]
    weight = np.where(near, weights[removed], 0)
    offset[~near] = 0
    total = weights[gaining] + np.add.reduceat(weight, starts, axis=0)
    shift = np.add.reduceat(offset * weight[..., None], starts, axis=0)
    merged = keypoints.copy()
    merged[gaining] += shift / np.where(total > 0, total, 1)[..., None]
    return merged[leader == own]
