"""CLEAR MOT and IDF1 of whole people, with OKS or another similarity.

`rmpe.evaluation.matching.clear_mot` counts joints, as PoseTrack does; here the objects are people.

Source: Bernardin and Stiefelhagen, CLEAR MOT metrics (2008); Ristani et al., IDF1 (ECCV workshops
2016).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.files.frames import Floats, Frame
from rmpe.evaluation.matching.clear_mot import hungarian
from rmpe.evaluation.matching.oks import oks

# Smallest OKS of a match.
THRESHOLD = 0.5


class Step(NamedTuple):
    """One frame.

    Attributes:
        similarity: ``(G, P)`` of each person with each prediction, 0 to 1.
        people: ``(G,)`` ids of the people.
        tracks: ``(P,)`` ids of the predictions.
    """

    similarity: Floats
    people: NDArray[np.int64]
    tracks: NDArray[np.int64]


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
        """MOTA, IDF1, recall and precision in percent, and the counts."""
        wrong = self.misses + self.false_positives + self.switches
        found = 100 * (self.objects - self.misses)
        return {
            "MOTA": 100 * (1 - wrong / max(self.objects, 1)),
            "IDF1": 100 * 2 * self.same / max(self.objects + self.answers, 1),
            "recall": found / max(self.objects, 1),
            "precision": found / max(self.answers, 1),
        } | {name: getattr(self, name) for name in self.__dataclass_fields__}


def count_identities(
    frames: list[Frame], sigmas: tuple[float, ...], threshold: float = THRESHOLD
) -> PeopleCounts:
    """Count one sequence of poses with frames in order; every person and pose must have an id."""
    steps = [
        Step(oks(frame.truth, frame.points, frame.areas, sigmas), frame.truth_ids, frame.point_ids)
        for frame in frames
    ]
    return count_steps(steps, threshold)


def count_steps(steps: Sequence[Step], threshold: float = THRESHOLD) -> PeopleCounts:
    """Count one sequence with frames in order.

    Args:
        steps: The frames.
        threshold: Smallest similarity of a match.
    """
    last: dict[int, int] = {}
    together: dict[tuple[int, int], int] = {}
    misses = false_positives = switches = 0
    for step in steps:
        for row, column in zip(*np.nonzero(step.similarity >= threshold), strict=True):
            pair = (int(step.people[row]), int(step.tracks[column]))
            together[pair] = together.get(pair, 0) + 1
        pairs = _matches(step, last, threshold)
        misses += len(step.people) - len(pairs)
        false_positives += len(step.tracks) - len(pairs)
        for person, track in pairs:
            switches += last.get(person, track) != track
            last[person] = track
    people = sorted({person for step in steps for person in step.people.tolist()})
    tracks = sorted({track for step in steps for track in step.tracks.tolist()})
    shared = np.zeros((len(people), len(tracks)))
    for (person, track), times in together.items():
        shared[people.index(person), tracks.index(track)] = times
    return PeopleCounts(
        misses,
        false_positives,
        switches,
        sum(len(step.people) for step in steps),
        sum(len(step.tracks) for step in steps),
        int(shared[hungarian(-shared)].sum()),
        len(tracks),
        len(people),
    )


def _matches(step: Step, last: dict[int, int], threshold: float) -> list[tuple[int, int]]:
    """Matched ids (person, track) of one frame; previous matches are kept if possible."""
    keeps = (
        np.array([last.get(person, -1) for person in step.people.tolist()])[:, None]
        == step.tracks[None]
    ).reshape(step.similarity.shape)
    # Keeping an id outweighs the number of matches, which outweighs their similarity; pairs below
    # the threshold have weight 0.
    most = len(step.people) + 1
    weight = np.where(
        step.similarity >= threshold, step.similarity + most + keeps * 2 * most * most, 0
    )
    rows, columns = hungarian(-weight)
    kept = weight[rows, columns] > 0
    return list(
        zip(step.people[rows[kept]].tolist(), step.tracks[columns[kept]].tolist(), strict=True)
    )
