"""Several places of every joint: the peaks of its heatmap.

A crop of a crowd shows the joints of several people. The highest peak need not be the right one;
`rmpe.associate` chooses among them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.affine import Matrix, apply
from rmpe.estimate.heatmaps import Heatmaps, Points, Scores, peaks

# How many candidates a joint has at most.
MOST = 3
# A peak is the maximum of the cells at most this far from it on each axis.
RADIUS = 2
# A peak is a candidate above this response. The highest cell is one whatever its response.
LEAST = 0.1

Refine = Callable[[Heatmaps, NDArray[np.int64], Scores], Points]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Up to C places of K joints of N people, the best first.

    Attributes:
        points: ``(N, K, C, 2)``, as (x, y) in any frame; NaN where there is no candidate.
        scores: ``(N, K, C)`` float32 responses; 0 where there is no candidate.
        count: ``(N, K)`` int64, how many candidates there are; at least 1.
    """

    points: Points
    scores: Scores
    count: NDArray[np.int64]

    @classmethod
    def only(cls, points: Points, scores: Scores) -> "Candidates":
        """One candidate of each joint: points ``(N, K, 2)`` and scores ``(N, K)``."""
        return cls(points[:, :, None], scores[:, :, None], np.ones(scores.shape, np.int64))

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: slice | NDArray[np.int64]) -> "Candidates":
        return Candidates(self.points[index], self.scores[index], self.count[index])

    def apply(self, maps: Matrix) -> "Candidates":
        """The same candidates in another frame: one affine map ``(N, 2, 3)`` for each person."""
        people, joints, places = self.scores.shape
        flat = apply(maps, self.points.reshape(people, joints * places, 2))
        return Candidates(flat.reshape(self.points.shape), self.scores, self.count)


def fuse(
    candidates: Candidates, person: NDArray[np.int64], reach: NDArray[np.floating]
) -> Candidates:
    """One answer for each person, of whom some were looked at twice.

    Where the two looks find a joint at about the same place, it lies at their mean, weighted by
    their scores, and is as sure as they are on average. Elsewhere the surer look is believed.

    Args:
        candidates: M looks, all in one frame.
        person: ``(M,)`` whose each is, from 0 to N - 1; everybody is there once or twice.
        reach: ``(N, K)`` how far apart two places of a joint may lie and be about the same.

    Returns:
        N people, in their order.
    """
    people, first = np.unique(person, return_index=True)
    again = np.setdiff1d(np.arange(len(person)), first)
    once = candidates[first]
    if len(again) == 0:
        return once
    whose = np.searchsorted(people, person[again])
    one, other = once[whose], candidates[again]
    surer = other.scores[:, :, 0] > one.scores[:, :, 0]
    points = np.where(surer[..., None, None], other.points, one.points)
    scores = np.where(surer[..., None], other.scores, one.scores)
    both = np.stack([one.scores[:, :, 0], other.scores[:, :, 0]])
    places = np.stack([one.points[:, :, 0], other.points[:, :, 0]])
    near = np.linalg.norm(places[1] - places[0], axis=-1) <= reach[whose]
    near &= both.sum(axis=0) > 0
    places, both = places[:, near], both[:, near]
    points[near, 0] = (places * both[..., None]).sum(axis=0) / both.sum(axis=0)[:, None]
    scores[near, 0] = both.mean(axis=0)
    once.points[whose] = points
    once.scores[whose] = scores
    once.count[whose] = np.where(surer, other.count, one.count)
    return once


def find_candidates(heatmaps: Heatmaps, refine: Refine, most: int = MOST) -> Candidates:
    """The peaks of heatmaps, in heatmap cells.

    Args:
        heatmaps: Responses ``(N, K, h, w)``.
        refine: From cells to sub-pixel places, e.g. `rmpe.estimate.heatmaps.summits`.
        most: C, the largest number of candidates of a joint.

    Returns:
        The candidates. The first is the highest cell, as `rmpe.estimate.heatmaps.peaks` finds it.
        Of equal cells next to each other only the first in row-major order is a candidate.

    Source: Li et al., CrowdPose (CVPR 2019), section 3.2; window, threshold and number are those of
    the released code.
    """
    people, joints, height, width = heatmaps.shape
    cells = np.zeros((people, joints, most, 2), np.int64)
    scores = np.zeros((people, joints, most), heatmaps.dtype)
    cells[:, :, 0], scores[:, :, 0] = peaks(heatmaps)
    found = np.ones((people, joints, most), bool)
    left = np.where((heatmaps == _local_maxima(heatmaps)) & (heatmaps > LEAST), heatmaps, -np.inf)
    x = np.arange(width)
    y = np.arange(height)
    for place in range(1, most):
        before = cells[:, :, place - 1, :, None]
        taken = (np.abs(y - before[:, :, 1]) <= RADIUS)[..., :, None]
        taken = taken & (np.abs(x - before[:, :, 0]) <= RADIUS)[..., None, :]
        left[taken] = -np.inf
        cells[:, :, place], scores[:, :, place] = peaks(left)
        found[:, :, place] = scores[:, :, place] > LEAST
    cells[~found] = 0
    scores[~found] = 0
    points = np.where(found[..., None], refine(heatmaps, cells, scores), np.nan)
    return Candidates(points, scores, found.sum(axis=2))


def _local_maxima(heatmaps: Heatmaps) -> Heatmaps:
    """The highest response at most `RADIUS` cells away on each axis, for every cell."""
    highest = heatmaps
    for axis in (2, 3):
        line = highest.copy()
        for step in range(1, RADIUS + 1):
            before = [slice(None)] * 4
            after = [slice(None)] * 4
            before[axis] = slice(None, -step)
            after[axis] = slice(step, None)
            np.maximum(line[tuple(after)], highest[tuple(before)], out=line[tuple(after)])
            np.maximum(line[tuple(before)], highest[tuple(after)], out=line[tuple(before)])
        highest = line
    return highest
