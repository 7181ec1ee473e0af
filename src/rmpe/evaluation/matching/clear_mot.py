"""CLEAR MOT of joints: every joint is a tracked object, as in PoseTrack.

Source: Bernardin and Stiefelhagen, CLEAR MOT metrics (2008); Andriluka et al., PoseTrack (CVPR
2018), section 4.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.frames import Floats, Frame
from rmpe.evaluation.matching.joint_ap import THRESHOLD
from rmpe.extras import load_extra

# Larger than the total distance of all pairs of a frame, so the assignment first maximises the
# number of pairs and then minimises their distance.
IMPOSSIBLE = 1e6


@dataclass(frozen=True, eq=False)
class MotCounts:
    """Counts per joint ``(K,)``, summed over frames.

    ``distance`` is summed over the matches, in head sizes.
    """

    misses: Floats
    switches: Floats
    false_positives: Floats
    objects: Floats
    distance: Floats

    @classmethod
    def zero(cls, joints: int) -> "MotCounts":
        """All counts zero."""
        return cls(*(np.zeros(joints) for _ in range(5)))

    def __add__(self, other: "MotCounts") -> "MotCounts":
        return MotCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def __mul__(self, weight: float) -> "MotCounts":
        return MotCounts(*(getattr(self, name) * weight for name in self.__dataclass_fields__))

    @property
    def detections(self) -> Floats:
        """Joints found, with the correct identity or another one."""
        return self.objects - self.misses

    def figures(self) -> dict[str, Any]:
        """MOTA, MOTP, precision and recall per joint in percent, their means, and the counts."""
        objects = np.maximum(self.objects, 1)
        found = np.maximum(self.detections, 1)
        answered = np.maximum(self.detections + self.false_positives, 1)
        percent = {
            "MOTA": 100 * (1 - (self.misses + self.switches + self.false_positives) / objects),
            "precision": 100 * self.detections / answered,
            "recall": 100 * self.detections / objects,
            "MOTP_from_matches": 100 * (1 - self.distance / found),
        }
        counts = ("misses", "switches", "false_positives", "objects", "detections")
        figures: dict[str, Any] = {name: values.tolist() for name, values in percent.items()}
        figures |= {f"{name}_mean": float(values.mean()) for name, values in percent.items()}
        return figures | {
            f"num_{name}": getattr(self, name).astype(int).tolist() for name in counts
        }


def count_mot(
    frames: list[Frame], joints: int, empty_as_one: bool = False, threshold: float = THRESHOLD
) -> MotCounts:
    """Count one sequence; frames without annotated people are skipped with their predictions.

    Args:
        frames: The sequence in order.
        joints: Number of joints.
        empty_as_one: Count a frame without predictions as the released poseval does: one object,
            one miss and one false positive per joint, instead of a miss for each person.
        threshold: Largest distance of a match in head sizes.
    """
    last: list[dict[int, int]] = [{} for _ in range(joints)]
    total = {name: np.zeros(joints) for name in MotCounts.__dataclass_fields__}
    for frame in frames:
        if not len(frame.truth):
            continue
        if empty_as_one and not len(frame.points):
            for name in ("misses", "false_positives", "objects"):
                total[name] += 1
            continue
        distances = frame.distances()
        total["objects"] += np.isfinite(frame.truth).all(axis=2).sum(axis=0)
        total["false_positives"] += np.isfinite(frame.points).all(axis=2).sum(axis=0)
        total["misses"] += np.isfinite(frame.truth).all(axis=2).sum(axis=0)
        for joint in range(joints):
            rows, columns = _pairs(distances[..., joint], frame, last[joint], threshold)
            pairs = zip(
                frame.truth_ids[rows].tolist(), frame.point_ids[columns].tolist(), strict=True
            )
            for person, track in pairs:
                total["switches"][joint] += last[joint].get(person, track) != track
                last[joint][person] = track
            total["false_positives"][joint] -= len(rows)
            total["misses"][joint] -= len(rows)
            total["distance"][joint] += distances[rows, columns, joint].sum()
    return MotCounts(**total)


def _pairs(
    distance: Floats, frame: Frame, last: dict[int, int], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Matches of one joint in one frame: valid previous matches are kept, the rest are assigned."""
    possible = distance <= threshold
    columns_of = {track: column for column, track in enumerate(frame.point_ids.tolist())}
    kept: dict[int, int] = {}
    for row, person in enumerate(frame.truth_ids.tolist()):
        column = columns_of.get(last.get(person, -1))
        if column is not None and possible[row, column] and column not in kept.values():
            kept[row] = column
    open_ = possible.copy()
    open_[list(kept)] = False
    open_[:, list(kept.values())] = False
    pairs = np.array(list(kept.items()), np.int64).reshape(-1, 2)
    if open_.any():
        rest = np.stack(hungarian(np.where(open_, distance, IMPOSSIBLE)), axis=1)
        pairs = np.concatenate([pairs, rest[open_[rest[:, 0], rest[:, 1]]]])
    return pairs[:, 0], pairs[:, 1]


def hungarian(cost: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the one-to-one assignment with the lowest total cost.

    Raises:
        MissingPackageError: If SciPy is not installed.
    """
    optimize = load_extra("scipy.optimize", "eval")
    rows, columns = optimize.linear_sum_assignment(cost)
    return rows, columns
