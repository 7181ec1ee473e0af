"""Greedy elimination of poses and merging of the eliminated ones, shared by the NMS methods."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses


def ranking(poses: Poses) -> NDArray[np.int64]:
    """Indices of ``poses`` by descending score, ``(N,)``.

    Ties are broken by the contents of the poses, so no result depends on their input order.
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
    """Greedy elimination over redundant pairs of poses that are sorted by confidence.

    The best remaining pose removes every pose that is redundant to it, then the next one follows.

    Args:
        rows: ``(P,)`` ascending, the more confident pose of each redundant pair.
        columns: ``(P,)``, the less confident pose of each pair; larger than its row.
        count: Number of poses.

    Returns:
        ``(N,)``, for each pose the index of the pose that removed it, or its own index if it is
        kept.
    """
    leader = np.arange(count)
    eliminate(leader, rows, columns)
    return leader


def eliminate(
    leader: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> None:
    """One batch of the pairs of `leaders`; ``leader`` is updated in place."""
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
    """Average each kept joint with the nearby joints of the poses that its pose removed.

    Args:
        keypoints: ``(N, K, 2)``; NaN where a joint is missing.
        weights: ``(N, K)``, weight of each joint; 0 where it is missing.
        leader: ``(N,)`` from `leaders`.
        radius: ``(N,)``, largest distance in pixels from the kept joint at which another joint is
            averaged into it.

    Returns:
        ``(M, K, 2)``, the M kept poses by ascending index; a joint with zero total weight does not
        move.
    """
    own = np.arange(len(leader))
    removed = np.flatnonzero(leader != own)
    # Group the removed poses by leader, as np.add.reduceat needs.
    removed = removed[np.argsort(leader[removed], kind="stable")]
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
