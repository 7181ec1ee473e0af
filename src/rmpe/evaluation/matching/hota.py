"""HOTA of whole poses with OKS as the similarity.

Source: Luiten et al., HOTA (IJCV 2021), equations 1-15. PoseTrack 2021 computes HOTA over joints;
here it is over people.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rmpe.evaluation.files.frames import Floats, Frame
from rmpe.evaluation.matching.clear_mot import hungarian
from rmpe.evaluation.matching.oks import oks

ALPHAS = np.arange(1, 20) / 20


@dataclass(frozen=True, eq=False)
class HotaCounts:
    """Counts at each of the 19 thresholds ``(19,)``; ``association`` sums over true positives."""

    found: Floats
    missed: Floats
    wrong: Floats
    association: Floats

    @classmethod
    def zero(cls) -> "HotaCounts":
        """All counts zero."""
        return cls(*(np.zeros(len(ALPHAS)) for _ in range(4)))

    def __add__(self, other: "HotaCounts") -> "HotaCounts":
        return HotaCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def figures(self) -> dict[str, Any]:
        """HOTA, DetA and AssA in percent, means over the thresholds."""
        detection = self.found / np.maximum(self.found + self.missed + self.wrong, 1)
        association = self.association / np.maximum(self.found, 1)
        values = {"HOTA": np.sqrt(detection * association), "DetA": detection, "AssA": association}
        return {name: float(100 * value.mean()) for name, value in values.items()}


def count_hota(frames: list[Frame], sigmas: tuple[float, ...]) -> HotaCounts:
    """Count one sequence; frames without annotated people are skipped with their predictions."""
    frames = [frame for frame in frames if len(frame.truth)]
    similarities = [oks(frame.truth, frame.points, frame.areas, sigmas) for frame in frames]
    people, rows = numbered([frame.truth_ids for frame in frames])
    tracks, columns = numbered([frame.point_ids for frame in frames])
    seen = np.zeros(people)
    given = np.zeros(tracks)
    shared = np.zeros((people, tracks))
    for row, column, similarity in zip(rows, columns, similarities, strict=True):
        seen[row] += 1
        given[column] += 1
        union = similarity.sum(axis=0)[None] + similarity.sum(axis=1)[:, None] - similarity
        shared[np.ix_(row, column)] += np.divide(
            similarity, union, out=np.zeros_like(union), where=union > 0
        )
    alignment = shared / np.maximum(seen[:, None] + given[None] - shared, np.spacing(1))

    matches = np.zeros((len(ALPHAS), people, tracks))
    for row, column, similarity in zip(rows, columns, similarities, strict=True):
        first, second = hungarian(-alignment[np.ix_(row, column)] * similarity)
        close = similarity[first, second] >= ALPHAS[:, None] - np.spacing(1)
        matches[:, row[first], column[second]] += close
    found = matches.sum(axis=(1, 2))
    jaccard = matches / np.maximum(seen[:, None] + given[None] - matches, 1)
    return HotaCounts(
        found, seen.sum() - found, given.sum() - found, (matches * jaccard).sum(axis=(1, 2))
    )


def numbered(ids: list[Any]) -> tuple[int, list[Any]]:
    """The number of distinct ids, and the ids of each frame renumbered from 0."""
    known, numbers = np.unique(np.concatenate(ids or [np.zeros(0, np.int64)]), return_inverse=True)
    return len(known), np.split(numbers, np.cumsum([len(row) for row in ids])[:-1]) if ids else []
