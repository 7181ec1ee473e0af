"""The fast tracker: motion prediction and assignment by OKS."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.poses import Poses
from rmpe.suppress.oks import pairwise_oks
from rmpe.tracking.assignment import max_weight_matching
from rmpe.tracking.belief import Belief, BeliefParameters
from rmpe.tracking.motion import Motion, places


@dataclass
class _Track:
    id: int
    motion: Motion
    pose: Poses  # as last seen
    place: NDArray[np.float64]
    belief: Belief
    unseen: int = 0


class OksTracker:
    """Tracks by constant-velocity prediction, OKS and exact assignment, without using the image.

    Attributes:
        latency: Always 0: ids are known immediately.

    Source: SORT (Bewley et al. 2016) with OKS in place of the boxes' IoU.
    """

    latency = 0

    def __init__(
        self,
        minimum: float = 0.15,
        memory: int = 30,
        birth: float = 0.2,
        belief: BeliefParameters | None = None,
    ) -> None:
        """Create a tracker without tracks.

        Args:
            minimum: Smallest OKS of a pose with the predicted pose of its track.
            memory: Frames a person may be unseen and still keep the id.
            birth: Smallest score that starts a track; weaker poses only continue tracks.
            belief: When a track is a person; the poses of others get no id.
        """
        self.minimum = minimum
        self.memory = memory
        self.birth = birth
        self.belief = belief or BeliefParameters()
        self._tracks: list[_Track] = []
        self._next_id = 0

    def update(self, image: NDArray[np.uint8], poses: Poses) -> list[Poses]:  # noqa: ARG002
        """See `Tracker.update`; always returns one frame."""
        for track in self._tracks:
            track.motion.step()
            track.unseen += 1
        self._tracks = [track for track in self._tracks if track.unseen <= self.memory]
        taken: list[_Track | None] = [None] * len(poses)
        seen = places(poses)
        for row, column in zip(
            *max_weight_matching(self._similarity(poses) - self.minimum), strict=True
        ):
            track = self._tracks[row]
            track.motion.correct(seen[column])
            track.pose = poses[int(column)]
            track.place = seen[column]
            track.unseen = 0
            track.belief.see(track.motion.place, float(poses.scores[column]))
            taken[column] = track
        for column, owner in enumerate(taken):
            if owner is None and poses.scores[column] >= self.birth:
                taken[column] = self._begin(poses[column], seen[column])
        ids = [
            owner.id if owner is not None and owner.belief.is_person(self.belief) else -1
            for owner in taken
        ]
        return [poses.replace(track_ids=np.array(ids, np.int64))]

    def flush(self) -> list[Poses]:
        """See `Tracker.flush`; no frames are ever pending."""
        self._tracks = []
        return []

    def _begin(self, pose: Poses, place: NDArray[np.float64]) -> _Track:
        """Start a track with one pose at its place ``(3,)``."""
        belief = Belief(place, float(pose.scores[0]))
        track = _Track(self._next_id, Motion(place), pose, place, belief)
        self._tracks.append(track)
        self._next_id += 1
        return track

    def _similarity(self, poses: Poses) -> NDArray[np.float64]:
        """OKS of every track's predicted pose with every pose, ``(T, N)``."""
        predicted = [track.motion.carry(track.pose, track.place) for track in self._tracks]
        every = pairwise_oks(Poses.merge([*predicted, poses]))
        return every[: len(predicted), len(predicted) :]
