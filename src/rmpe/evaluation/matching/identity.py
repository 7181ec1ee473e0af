"""CLEAR MOT and IDF1 of whole people with OKS as the similarity.

`rmpe.evaluation.matching.clear_mot` counts joints, as PoseTrack does; here the objects are people.

Source: Bernardin and Stiefelhagen, CLEAR MOT metrics (2008); Ristani et al., IDF1 (ECCV workshops
2016).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rmpe.evaluation.files.frames import Floats, Frame
from rmpe.evaluation.matching.clear_mot import hungarian
from rmpe.evaluation.matching.oks import oks

# Smallest OKS of a match.
THRESHOLD = 0.5


@dataclass(frozen=True)
class PeopleCounts:
    """Counts of one or more sequences.

    Attributes:
        misses: People without a pose.
        false_positives: Poses without a person.
        switches: People whose id differs from when they were last found.
        objects: Annotated people, summed over frames.
        answers: Predicted poses, summed over frames.
        same: Poses with the id that is assigned to their person over the whole sequence (IDTP).
        tracks: Number of distinct predicted ids.
        people: Number of distinct annotated ids.
    """

    misses: int = 0
    false_positives: int = 0
    switches: int = 0
    objects: int = 0
    answers: int = 0
    same: int = 0
    tracks: int = 0
    people: int = 0

    def __add__(self, other: "PeopleCounts") -> "PeopleCounts":
        return PeopleCounts(
            *(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__)
        )

    def figures(self) -> dict[str, Any]:
        """MOTA and IDF1 in percent, and the counts."""
        wrong = self.misses + self.false_positives + self.switches
        return {
            "MOTA": 100 * (1 - wrong / max(self.objects, 1)),
            "IDF1": 100 * 2 * self.same / max(self.objects + self.answers, 1),
        } | {name: getattr(self, name) for name in self.__dataclass_fields__}


def count_identities(
    frames: list[Frame], sigmas: tuple[float, ...], threshold: float = THRESHOLD
) -> PeopleCounts:
    """Count one sequence with frames in order; every person and pose must have an id."""
    last: dict[int, int] = {}
    together: dict[tuple[int, int], int] = {}
    misses = false_positives = switches = 0
    for frame in frames:
        similarity = oks(frame.truth, frame.points, frame.areas, sigmas)
        for row, column in zip(*np.nonzero(similarity >= threshold), strict=True):
            pair = (int(frame.truth_ids[row]), int(frame.point_ids[column]))
            together[pair] = together.get(pair, 0) + 1
        pairs = _matches(similarity, frame, last, threshold)
        misses += len(frame.truth) - len(pairs)
        false_positives += len(frame.points) - len(pairs)
        for person, track in pairs:
            switches += last.get(person, track) != track
            last[person] = track
    people = sorted({person for frame in frames for person in frame.truth_ids.tolist()})
    tracks = sorted({track for frame in frames for track in frame.point_ids.tolist()})
    shared = np.zeros((len(people), len(tracks)))
    for (person, track), times in together.items():
        shared[people.index(person), tracks.index(track)] = times
    return PeopleCounts(
        misses,
        false_positives,
        switches,
        sum(len(frame.truth) for frame in frames),
        sum(len(frame.points) for frame in frames),
        int(shared[hungarian(-shared)].sum()),
        len(tracks),
        len(people),
    )


def _matches(
    similarity: Floats, frame: Frame, last: dict[int, int], threshold: float
) -> list[tuple[int, int]]:
    """Matched ids (person, track) of one frame; previous matches are kept if possible."""
    keeps = (
        np.array([last.get(person, -1) for person in frame.truth_ids.tolist()])[:, None]
        == frame.point_ids[None]
    )
    # Keeping an id outweighs any similarity; pairs below the threshold have weight 0.
    weight = np.where(
        similarity >= threshold,
        similarity + keeps.reshape(similarity.shape) * 2 * len(frame.truth),
        0,
    )
    rows, columns = hungarian(-weight)
    kept = weight[rows, columns] > 0
    return list(
        zip(
            frame.truth_ids[rows[kept]].tolist(),
            frame.point_ids[columns[kept]].tolist(),
            strict=True,
        )
    )
