"""Learn the parameters of pose NMS from data: RMPE, section 3.2.

The mAP of the poses that are left is maximised over two parameters at a time with the other two fixed, in turns, until
nothing moves. Everything that does not depend on the parameters is computed once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from rmpe.evaluation.flat_matching import Truths, match
from rmpe.evaluation.ranked import Ranked
from rmpe.poses import Poses
from rmpe.suppress.clusters import leaders, ranking
from rmpe.suppress.parametric import JointPairs, PoseNmsParameters, merged, near_pairs

SIGMA1 = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SIGMA2 = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
LAM = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# eta is searched as a share of 1 + lam, the similarity of a sure pose with itself, so that the two do not run away.
ETA_SHARE = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
# Pairs that no point of the grid could call redundant are not looked at.
WIDEST = PoseNmsParameters(sigma2=max(SIGMA2), lam=max(LAM), eta=min(ETA_SHARE) * (1 + max(LAM)))


@dataclass(frozen=True, eq=False)
class Surface:
    """mAP over a grid of two parameters.

    Attributes:
        names: The parameter of the rows, and that of the columns.
        axes: Their values.
        values: ``(R, C)``.
    """

    names: tuple[str, str]
    axes: tuple[Sequence[float], Sequence[float]]
    values: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned, and what it is worth.

    Attributes:
        parameters: Learned on all photos.
        surfaces: mAP around them: over (sigma1, sigma2), and over (lam, eta share).
        start_ap: mAP with the parameters the search started from.
        ap: mAP with the learned ones on the photos they were learned on: flattering.
        held_out_ap: mAP when every photo is treated with parameters learned without its fold: honest.
        folds: Parameters learned without each fold.
        held_out: Matches behind ``held_out_ap``, for intervals.
    """

    parameters: PoseNmsParameters
    surfaces: tuple[Surface, Surface]
    start_ap: float
    ap: float
    held_out_ap: float
    folds: list[PoseNmsParameters]
    held_out: Ranked


class Candidates:
    """Poses of many photos before NMS, with all that NMS and its measurement need but for the parameters."""

    def __init__(self, per_photo: Sequence[Poses], truths: Truths) -> None:
        """Compare the poses within each photo; ``per_photo`` has one entry for each of the photos of ``truths``."""
        ranked = [poses[ranking(poses)] for poses in per_photo]
        self.truths = truths
        self.poses = Poses.merge(ranked)
        self.images = np.repeat(np.arange(len(ranked)), [len(poses) for poses in ranked])
        starts = np.searchsorted(self.images, np.arange(len(ranked)))
        pairs = [np.stack(near_pairs(poses, WIDEST)) + start for poses, start in zip(ranked, starts, strict=True)]
        self.rows, self.columns = np.concatenate(pairs, axis=1)
        self._pairs = JointPairs.compare(self.poses, self.poses, self.rows, self.columns)
        self._known: dict[PoseNmsParameters, Ranked] = {}

    def measure(self, parameters: PoseNmsParameters) -> Ranked:
        """Suppress with ``parameters`` in all photos and match what is left; remembered."""
        if parameters not in self._known:
            redundant = self._pairs.similarity(parameters) > parameters.eta
            leader = leaders(self.rows[redundant], self.columns[redundant], len(self.poses))
            kept = leader == np.arange(len(leader))
            self._known[parameters] = match(self.truths, merged(self.poses, leader, parameters), self.images[kept])
        return self._known[parameters]


def learn_nms(
    per_photo: Sequence[Poses],
    truths: Truths,
    start: PoseNmsParameters | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Learned:
    """Learn pose NMS parameters from candidates and annotations.

    Args:
        per_photo: Poses before NMS, one entry a photo.
        truths: Annotated people of the same photos.
        start: Where the search starts; its ``merge`` is kept.
        folds: Parts the photos are drawn into for cross-validation.
        seed: Of the draw.

    Source: RMPE, section 3.2, "optimization".
    """
    candidates = Candidates(per_photo, truths)
    start = start or PoseNmsParameters()
    fold = np.random.default_rng(seed).permutation(len(per_photo)) % folds
    learned_without = [climb(candidates, start, fold != index) for index in range(folds)]
    held_out = _joined([candidates.measure(parameters) for parameters in learned_without], fold)
    everything = np.ones(len(per_photo))
    parameters = climb(candidates, start, everything)
    return Learned(
        parameters,
        (sigma_surface(candidates, parameters, everything), threshold_surface(candidates, parameters, everything)),
        candidates.measure(start).coco_ap(),
        candidates.measure(parameters).coco_ap(),
        held_out.coco_ap(),
        learned_without,
        held_out,
    )


def climb(candidates: Candidates, start: PoseNmsParameters, weights: NDArray[np.generic]) -> PoseNmsParameters:
    """Parameters of highest mAP on photos weighted by ``weights`` ``(I,)``: two at a time until nothing moves."""
    parameters, best = start, candidates.measure(start).coco_ap(weights)
    moved = True
    while moved:
        moved = False
        for surface_of, place in ((sigma_surface, with_sigmas), (threshold_surface, with_threshold)):
            surface = surface_of(candidates, parameters, weights)
            if surface.values.max() > best:
                best, moved = surface.values.max(), True
                row, column = np.unravel_index(surface.values.argmax(), surface.values.shape)
                parameters = place(parameters, surface.axes[0][row], surface.axes[1][column])
    return parameters


def with_sigmas(parameters: PoseNmsParameters, sigma1: float, sigma2: float) -> PoseNmsParameters:
    """``parameters`` with other spreads."""
    return replace(parameters, sigma1=sigma1, sigma2=sigma2)


def with_threshold(parameters: PoseNmsParameters, lam: float, share: float) -> PoseNmsParameters:
    """``parameters`` with another weight, and eta as a share of 1 + lam."""
    return replace(parameters, lam=lam, eta=round(share * (1 + lam), 6))


def sigma_surface(candidates: Candidates, parameters: PoseNmsParameters, weights: NDArray[np.generic]) -> Surface:
    """mAP over (sigma1, sigma2)."""
    return _surface(candidates, partial_(with_sigmas, parameters), ("sigma1", "sigma2"), (SIGMA1, SIGMA2), weights)


def threshold_surface(candidates: Candidates, parameters: PoseNmsParameters, weights: NDArray[np.generic]) -> Surface:
    """mAP over (lam, eta / (1 + lam))."""
    names = ("lam", "eta / (1 + lam)")
    return _surface(candidates, partial_(with_threshold, parameters), names, (LAM, ETA_SHARE), weights)
