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

    def __getitem__(self, index: slice) -> "Candidates":
        return Candidates(self.points[index], self.scores[index], self.count[index])

    def apply(self, maps: Matrix) -> "Candidates":
        """The same candidates in another frame: one affine map ``(N, 2, 3)`` for each person."""
        people, joints, places = self.scores.shape
        flat = apply(maps, self.points.reshape(people, joints * places, 2))
        return Candidates(flat.reshape(self.points.shape), self.scores, self.count)


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
