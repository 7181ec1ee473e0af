"""Whether what a tracker follows is a person: the rule on ghosts, the same for every tracker.

Detectors find people in tripods, zebras and heaps of luggage, frame after frame. Two things tell
such a ghost: it is scored low on average, and it stays in its place.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Poses after which something that convinces is a person for good.
CONVINCED = 10
# Distance from its first place, in sizes, beyond which something has moved by itself.
MOVED = 0.15


@dataclass(frozen=True)
class BeliefParameters:
    """When to believe that something is a person; 0 and 0 believe everything.

    Attributes:
        moving: Mean score that is enough for what has moved from its first place, and for what was
            seen in few frames.
        still: Mean score that is enough for what has not moved.
        young: Number of poses up to which nothing is expected to have moved.
    """

    moving: float = 0.26
    still: float = 0.39
    young: int = 5


EVERYTHING = BeliefParameters(moving=0.0, still=0.0)


@dataclass(eq=False)
class Belief:
    """What speaks for one person so far; of fixed size.

    Attributes:
        start: The first place, ``(3,)`` as in `rmpe.tracking.motion.places`.
        mean: Mean score of the poses.
        poses: Their number.
        moved: Whether it has left its first place.
        proven: Whether it has convinced once, for good.
    """

    start: NDArray[np.float64]
    mean: float
    poses: int = 1
    moved: bool = False
    proven: bool = False

    def see(self, place: NDArray[np.float64], score: float) -> None:
        """Take in one more pose.

        Args:
            place: Its filtered place ``(3,)``: boxes of one pose jitter.
            score: Its score.
        """
        self.poses += 1
        self.mean += (score - self.mean) / self.poses
        away = np.linalg.norm(place[:2] - self.start[:2]) / np.exp(place[2])
        self.moved = self.moved or bool(away > MOVED)

    def is_person(self, parameters: BeliefParameters) -> bool:
        """Whether this is a person by now.

        Somebody who was seen well stays one when far away or half hidden. Where the camera moves,
        everything does, and only the mean score decides.
        """
        enough = parameters.moving if self.moved else parameters.still
        if self.mean >= enough:
            self.proven = self.proven or self.poses >= CONVINCED
            return True
        return self.proven or (self.poses <= parameters.young and self.mean >= parameters.moving)
