"""A pose flow: one person's poses over time, and the re-linking of broken flows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmpe.boxes import Index
from rmpe.poses import Poses
from rmpe.tracking.belief import Belief
from rmpe.tracking.features import limb_colors
from rmpe.tracking.motion import Motion, places

# Lab distance at which the similarity of two limb colours falls to 1/e.
COLOR_SPREAD = 22.0
# Tolerance for a re-linked person: position in sizes, on top of the motion's own spread; size in
# log units.
PLACE_SLACK = 0.12
SIZE_SLACK = 0.4
# The same for two frames between which no feature was followed: people may have moved far. And the
# tolerance of a joint's place in a pose, in sizes.
FAR_SLACK = 0.35
POSE_SLACK = 0.2
COLOR_MEMORY = 0.9


@dataclass(frozen=True, eq=False)
class Sightings:
    """Position, score and colours of the N poses of a frame, as flows use them.

    Attributes:
        places: Centres and sizes ``(N, 3)``, see `rmpe.tracking.motion.places`.
        scores: Pose scores ``(N,)``.
        colors: Limb colours ``(N, L, 3)``, Lab.
        trust: Trust in each colour ``(N, L)``, see `limb_colors`.
    """

    places: NDArray[np.float64]
    scores: NDArray[np.float32]
    colors: NDArray[np.float32]
    trust: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.uint8], poses: Poses) -> "Sightings":
        """The sightings of the people of one image."""
        return cls(places(poses), poses.scores, *limb_colors(image, poses))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Index) -> "Sightings":
        return Sightings(
            self.places[index], self.scores[index], self.colors[index], self.trust[index]
        )


@dataclass(eq=False)
class Flow:
    """One person through the video; a summary of fixed size, not a list of poses.

    Attributes:
        id: The track id.
        motion: Position and velocity.
        colors: Mean limb colours ``(L, 3)``.
        trust: Trust in them ``(L,)``.
        belief: What speaks for its being a person.
        unseen: Frames since its last pose.
    """

    id: int
    motion: Motion
    colors: NDArray[np.float32]
    trust: NDArray[np.float32]
    belief: Belief
    unseen: int = 0

    @classmethod
    def begin(cls, track_id: int, seen: Sightings, index: int) -> "Flow":
        """Start a flow with pose ``index``."""
        place = seen.places[index]
        belief = Belief(place, float(seen.scores[index]))
        return cls(track_id, Motion(place), seen.colors[index], seen.trust[index], belief)

    @property
    def confidence(self) -> float:
        """Mean score of its poses so far."""
        return self.belief.mean

    def wait(self) -> None:
        """Advance by one frame; `see` resets the unseen counter."""
        self.motion.step()
        self.unseen += 1

    def see(self, seen: Sightings, index: int) -> "Flow":
        """Continue the flow with pose ``index``."""
        self.motion.correct(seen.places[index])
        self.unseen = 0
        self.belief.see(self.motion.place, float(seen.scores[index]))
        old = self.trust * COLOR_MEMORY
        new = seen.trust[index] * (1 - COLOR_MEMORY)
        total = old + new
        share = np.divide(new, total, out=np.zeros_like(total), where=total > 0)[:, None]
        self.colors = self.colors + share * (seen.colors[index] - self.colors)
        self.trust = total
        return self


def likeness(before: Poses, after: Poses) -> NDArray[np.float64]:
    """Similarity of two frames' people without the images, ``(N, M)`` in [0, 1].

    The product of three terms: distance, difference in size, and difference of the poses laid upon
    each other.
    """
    if not len(before) or not len(after):
        return np.zeros((len(before), len(after)))
    first = places(before)[:, None]
    second = places(after)[None]
    error = second - first
    away = np.square(error[..., :2] / np.exp(first[..., 2:])).sum(axis=2)
    shapes = [
        (poses.keypoints - where[:, None, :2]) / np.exp(where[:, None, 2:])
        for poses, where in ((before, first[:, 0]), (after, second[0]))
    ]
    apart = np.square(shapes[0][:, None] - shapes[1][None]).sum(axis=3)
    known = np.isfinite(apart)
    bend = np.where(known, apart, 0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    terms = away / FAR_SLACK**2 + np.square(error[..., 2] / SIZE_SLACK) + bend / POSE_SLACK**2
    result: NDArray[np.float64] = np.exp(-terms / 2)
    return result


def relink_similarity(
    flows: Sequence[Flow], seen: Sightings, slack: float = PLACE_SLACK
) -> NDArray[np.float64]:
    """Similarity of each broken flow with each pose, ``(F, N)`` in [0, 1].

    The product of three terms: distance from the flow's predicted position (with a tolerance that
    grows while the person is unseen), difference in size, and difference in limb colours.

    Args:
        flows: F broken flows.
        seen: The N poses.
        slack: Tolerance of the position in sizes, on top of the motion's own spread.
    """
    if not flows or not len(seen):
        return np.zeros((len(flows), len(seen)))
    predicted = np.array([flow.motion.place for flow in flows])
    spread = np.array([flow.motion.spread for flow in flows])[:, None]
    error = seen.places[None] - predicted[:, None]
    away = np.square(error[..., :2] / np.exp(predicted[:, None, 2:])).sum(axis=2)
    place = np.exp(-away / (2 * (np.square(spread) + slack**2)))
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
