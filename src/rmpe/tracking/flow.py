"""One person's flow of poses, and how likely a pose is to continue a broken one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Index
from rmpe.poses import Poses
from rmpe.tracking.features import limb_colors
from rmpe.tracking.motion import Motion, places

# Lab distance at which the likeness of two limbs' colours has fallen to 1/e.
COLOR_SPREAD = 22.0
# What the place of a re-found person may be off beyond the motion's own spread, in sizes; and the
# size, in log units.
PLACE_SLACK = 0.12
SIZE_SLACK = 0.4
COLOR_MEMORY = 0.9


@dataclass(frozen=True, eq=False)
class Sightings:
    """What flows need to know of the N poses of a frame.

    Attributes:
        places: Centres and sizes ``(N, 3)``, see `rmpe.tracking.motion.places`.
        scores: Pose scores ``(N,)``.
        colors: Limb colours ``(N, L, 3)``, Lab.
        trust: How far to trust each colour ``(N, L)``.
    """

    places: NDArray[np.float64]
    scores: NDArray[np.float32]
    colors: NDArray[np.float32]
    trust: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.uint8], poses: Poses) -> "Sightings":
        """Those of the people of one image."""
        return cls(places(poses), poses.scores, *limb_colors(image, poses))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Index) -> "Sightings":
        return Sightings(
            self.places[index], self.scores[index], self.colors[index], self.trust[index]
        )


@dataclass(eq=False)
class Flow:
    """One person through the video; only what later decisions need is kept, so a flow does not
    grow.

    Attributes:
        id: The track id.
        motion: Place and speed.
        colors: Mean limb colours ``(L, 3)``.
        trust: How far to trust them ``(L,)``.
        confidence: Mean score of its poses so far.
        length: Number of its poses.
        unseen: Frames since the last one.
    """

    id: int
    motion: Motion
    colors: NDArray[np.float32]
    trust: NDArray[np.float32]
    confidence: float
    length: int = 1
    unseen: int = 0

    @classmethod
    def begin(cls, track_id: int, seen: Sightings, index: int) -> "Flow":
        """A flow that begins with pose ``index``."""
        motion = Motion(seen.places[index])
        return cls(
            track_id, motion, seen.colors[index], seen.trust[index], float(seen.scores[index])
        )

    def wait(self) -> None:
        """A frame goes by; `see` undoes the waiting."""
        self.motion.step()
        self.unseen += 1

    def see(self, seen: Sightings, index: int) -> "Flow":
        """The flow goes on in pose ``index``."""
        self.motion.correct(seen.places[index])
        self.unseen = 0
        self.length += 1
        self.confidence += (float(seen.scores[index]) - self.confidence) / self.length
        old = self.trust * COLOR_MEMORY
        new = seen.trust[index] * (1 - COLOR_MEMORY)
        total = old + new
        share = np.divide(new, total, out=np.zeros_like(total), where=total > 0)[:, None]
        self.colors = self.colors + share * (seen.colors[index] - self.colors)
        self.trust = total
        return self


def relink_similarity(flows: Sequence[Flow], seen: Sightings) -> NDArray[np.float64]:
    """How likely each pose is the person of each broken flow, ``(F, N)`` in [0, 1].

    Product of three: is it where the flow would be by now (the longer unseen, the wider), has it
    the size, has it the colours.
    """
    if not flows or not len(seen):
        return np.zeros((len(flows), len(seen)))
    predicted = np.array([flow.motion.place for flow in flows])
    spread = np.array([flow.motion.spread for flow in flows])[:, None]
    error = seen.places[None] - predicted[:, None]
    away = np.square(error[..., :2] / np.exp(predicted[:, None, 2:])).sum(axis=2)
    place = np.exp(-away / (2 * (np.square(spread) + PLACE_SLACK**2)))
    size = np.exp(-np.square(error[..., 2] / SIZE_SLACK) / 2)
    trust = np.array([flow.trust for flow in flows])[:, None] * seen.trust[None]
    unlike = np.linalg.norm(
        np.array([flow.colors for flow in flows])[:, None] - seen.colors[None], axis=3
    )
    total = trust.sum(axis=2)
    mean = np.divide(
        (unlike * trust).sum(axis=2), total, out=np.full_like(total, COLOR_SPREAD), where=total > 0
    )
    return place * size * np.exp(-mean / COLOR_SPREAD)
