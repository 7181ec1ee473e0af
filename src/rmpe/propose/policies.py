"""Box policies: which box around a person the pose model is trained on.

A policy draws offsets: how far each edge of a proposal lies from the person's true box, as a share
of the true box's side in that direction. The paper's policy is `rmpe.propose.pgpg.Pgpg`; the two
here are what it is compared with.
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
    """Draws proposals around people; `atoms_of` once a data set, `sample` once a batch."""

    def atoms_of(self, keypoints: ArrayLike, visible: ArrayLike) -> NDArray[np.int64]:
        """The kind of pose of each person, ``(N,)``, from keypoints ``(N, K, 2)`` and visibility ``(N, K)``."""
        ...

    def sample(
        self, atoms: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> Offsets:
        """Draw ``count`` offsets ``(N, count, 4)``, left top right bottom, for people of kinds ``atoms`` ``(N,)``."""
        ...


class PoseBlind:
    """A policy for which all poses are one."""

    def atoms_of(self, keypoints: ArrayLike, visible: ArrayLike) -> NDArray[np.int64]:  # noqa: ARG002
        """Zeros ``(N,)``."""
        return np.zeros(len(np.asarray(visible)), np.int64)


@dataclass(frozen=True)
class TrueBoxes(PoseBlind):
    """The true box itself: what training without proposals amounts to."""

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
    """The true box shifted and stretched at random, redrawn until it overlaps the true box enough.

    The centre moves by up to ``shift`` of the side along each axis, each side is multiplied by up
    to ``scale`` or its inverse, both evenly (the scale in its logarithm); then all of it is
    weakened by one number, even between 0 and 1. Without that, nine of ten boxes would lie below an
    IoU of .67, since there is most room at the border.

    Attributes:
        iou: Smallest IoU with the true box.
        shift: Largest shift, as a share of the side.
        scale: Largest factor of a side.
        power: The weakening number is raised to it; below 1 large errors become common.

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
    """A policy by name: ``true``, ``jitter``, ``strong_jitter``, or the path of a file that ``rmpe
    learn pgpg`` wrote.

    Strong jitter is for spatial transformers: they learn little from boxes that are nearly right.

    Raises:
        UsageError: If it is neither a known name nor a TOML file.
        DataError: If the file is not one that ``rmpe learn pgpg`` wrote.
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
            f"unknown box policy {name_or_path!r}; known: {', '.join(named)}, or a PGPG file (.toml)"
        )
    return Pgpg.load(find_shipped(name_or_path))
