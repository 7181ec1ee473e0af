"""Box policies: how training boxes are sampled around a person.

A policy draws offsets: the distance of each edge of a proposal from the true box, as a fraction of
the true box's side in that direction. The paper's policy is `rmpe.propose.pgpg.Pgpg`; the two here
are its baselines.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmpe.config import find_shipped
from rmpe.errors import UsageError
from rmpe.propose.offsets import Offsets, draw_overlapping
from rmpe.propose.pgpg import Pgpg


class BoxPolicy(Protocol):
    """Samples proposals around people; `atoms_of` runs once per data set, `sample` per batch."""

    def atoms_of(self, keypoints: ArrayLike, visible: ArrayLike) -> NDArray[np.int64]:
        """The kind of pose of each person.

        Args:
            keypoints: ``(N, K, 2)``.
            visible: ``(N, K)``.

        Returns:
            ``(N,)``.
        """
        ...

    def sample(
        self, atoms: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> Offsets:
        """Draw ``count`` offsets for each person.

        Args:
            atoms: ``(N,)``, the kind of pose of each person, from `atoms_of`.
            count: Offsets per person.
            generator: Source of randomness.

        Returns:
            ``(N, count, 4)``: left, top, right, bottom.
        """
        ...


class PoseBlind:
    """Base of the policies that ignore the pose."""

    def atoms_of(self, keypoints: ArrayLike, visible: ArrayLike) -> NDArray[np.int64]:  # noqa: ARG002
        """Zeros ``(N,)``."""
        return np.zeros(len(np.asarray(visible)), np.int64)


@dataclass(frozen=True)
class TrueBoxes(PoseBlind):
    """The true box itself, for training without proposals."""

    def sample(
        self,
        atoms: NDArray[np.int64],
        count: int,
        generator: np.random.Generator,  # noqa: ARG002
    ) -> Offsets:
        """Zeros ``(N, count, 4)``."""
        return np.zeros((len(atoms), count, 4))


@dataclass(frozen=True)
class RandomJitter(PoseBlind):
    """The true box shifted and scaled at random, redrawn until its IoU is at least ``iou``.

    The centre shifts by up to ``shift`` of the side along each axis, and each side is multiplied by
    a factor between ``1 / scale`` and ``scale``; shifts and log factors are uniform. A common
    strength, uniform between 0 and 1, scales all of them. Without it, nine of ten boxes would have
    an IoU below 0.67, because most of the volume lies near the limits.

    Attributes:
        iou: Smallest IoU with the true box.
        shift: Largest shift, as a fraction of the side.
        scale: Largest factor of a side.
        power: Exponent of the strength; below 1, large errors become more common.

    Source:
        Section 5.3, "random jitter" (boxes jittered at random with IoU > 0.5). The paper gives no
        distribution.
    """

    iou: float = 0.5
    shift: float = 0.5
    scale: float = 2.0
    power: float = 1.0

    def sample(
        self, atoms: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> Offsets:
        """Offsets ``(N, count, 4)``, none below an IoU of ``iou``."""

        def draw(atoms: NDArray[np.int64]) -> Offsets:
            strength = generator.uniform(0, 1, (len(atoms), 1)) ** self.power
            shift = strength * self.shift * generator.uniform(-1, 1, (len(atoms), 2))
            growth = self.scale ** (strength * generator.uniform(-1, 1, (len(atoms), 2))) - 1
            return np.concatenate([shift - growth / 2, shift + growth / 2], axis=1)

        return draw_overlapping(draw, np.repeat(atoms, count), self.iou).reshape(
            len(atoms), count, 4
        )


def load_policy(name_or_path: str) -> BoxPolicy:
    """The box policy with the given name, or PGPG from a file.

    Args:
        name_or_path: ``true``, ``jitter``, ``strong_jitter``, or the path of a file written by
            ``rmpe learn pgpg``. Strong jitter is for spatial transformers, which learn little from
            nearly correct boxes.

    Raises:
        UsageError: If it is neither a known name nor a TOML file.
        DataError: If the file is not a valid PGPG file.
    """
    named: dict[str, BoxPolicy] = {
        "true": TrueBoxes(),
        "jitter": RandomJitter(),
        "strong_jitter": RandomJitter(iou=0.45, power=1 / 3),
    }
    if name_or_path in named:
        return named[name_or_path]
    if not name_or_path.endswith(".toml"):
        raise UsageError(
            f"unknown box policy {name_or_path!r};"
            f" known: {', '.join(named)}, or a PGPG file (.toml)"
        )
    return Pgpg.load(find_shipped(name_or_path))
